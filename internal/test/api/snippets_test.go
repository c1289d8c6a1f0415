package api

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The Go code in the pages of the repository compiles. A snippet is part of a function
// that returns an error. It may use the packages of the module, those in library and
// what assumed declares. It need not use its variables. A snippet that begins with the
// name of an example is a copy of a part of it, which the tests of the example run.
func TestSnippets(t *testing.T) {
	t.Parallel()
	compiler := newCompiler(t)
	found := snippets(t)
	copies := 0
	for _, s := range found {
		check := compiler.compile
		if s.source() != "" {
			copies++
			check = snippet.checkCopy
		}
		if err := check(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if len(found)-copies < 9 || copies < 4 {
		t.Errorf("only %d snippets were found, and %d copies of sources", len(found), copies)
	}
}

// The check finds what does not compile.
func TestWrongSnippets(t *testing.T) {
	t.Parallel()
	compiler := newCompiler(t)
	for name, code := range map[string]string{
		"a method":          "resolver.Decide(ctx)",
		"a field":           "resolver, err := policy.New(policy.Config{Resolver: nil})",
		"a function":        `err := delivery.SendMessage(ctx)`,
		"an argument":       `plan, err := resolver.Resolve("example.org")`,
		"a result":          `plan := resolver.Resolve(ctx, "example.org")`,
		"a name":            "client.Close()",
		"syntax":            "if err != nil {",
		"a package of ours": "smtp.Dial()",
		"the returned type": "return 1",
	} {
		if err := compiler.compile(snippet{page: name, line: 1, code: code}); err == nil {
			t.Errorf("%s: %s compiles", name, code)
		}
	}
	for _, code := range []string{
		"// examples/clients/gosmtp.go\nfunc GoSMTP() {}", "// examples/clients/none.go\nfunc GoSMTP() {}",
	} {
		if (snippet{code: code}).checkCopy() == nil {
			t.Errorf("%s is taken for a copy", code)
		}
	}
	if err := compiler.compile(snippet{page: "good", line: 1, code: "plan, err := resolver.Resolve(ctx, \"example.org\")"}); err != nil {
		t.Errorf("unused variables: %v", err)
	}
}

// library lists the packages of the standard library that the snippets may use.
var library = []string{
	"context", "crypto/tls", "crypto/x509", "errors", "io", "log", "log/slog", "net", "os", "sync", "testing", "time",
}

// assumed declares what the snippets use and do not declare, because the text around
// them, or another snippet, does.
const assumed = `
var (
	t         *testing.T
	ctx       context.Context
	logger    *slog.Logger
	message   []byte
	file      io.ReaderAt
	size      int64
	resolver  *policy.Resolver
	plan      *policy.Plan
	dialer    *delivery.Dialer
	store     *boltstore.Store
	recorder  tlsrpt.Recorder
	mailer    reporter.Mailer
	signer    reporter.Signer
	chain     []*x509.Certificate
	names     []string
	password  string
)

// The SMTP client of the reader.
type session struct{ state *tls.ConnectionState }

func (session) close()                                                    {}
func connect(context.Context, *policy.Host) (session, policy.Step, error) { return session{}, 0, nil }
func deliver(session) error                                               { return nil }
func send(net.Conn) error                                                 { return nil }
`

// snippet is a block of Go code in a page.
type snippet struct {
	page string
	line int // of the page, on which the code begins
	code string
}

// source returns the file that the snippet is a copy of, or "" if it is not a copy.
func (s snippet) source() string {
	first, _, _ := strings.Cut(s.code, "\n")
	if name, ok := strings.CutPrefix(first, "// examples/"); ok {
		return "examples/" + name
	}
	return ""
}

// checkCopy returns an error if the snippet is not a part of its source.
func (s snippet) checkCopy() error {
	text, err := os.ReadFile(filepath.Join(root, s.source()))
	if err != nil {
		return err
	}
	_, code, _ := strings.Cut(s.code, "\n")
	if !strings.Contains(string(text), code) {
		return fmt.Errorf("%s does not have this text", s.source())
	}
	return nil
}

func (s snippet) String() string { return fmt.Sprintf("%s:%d", s.page, s.line) }

// snippets returns the Go code in all pages of the repository.
func snippets(t *testing.T) (found []snippet) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var code *snippet
		line := 0
		for text := range strings.Lines(string(text)) {
			line++
			switch marker := strings.TrimSpace(text); {
			case code == nil && marker == "```go":
				code = &snippet{page: filepath.ToSlash(path), line: line + 1}
			case code != nil && marker == "```":
				found = append(found, *code)
				code = nil
			case code != nil:
				code.code += text
			}
		}
		if code != nil {
			t.Errorf("%s: the code does not end", code)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// compiler checks snippets against the packages as they are.
type compiler struct {
	imports  string
	importer types.Importer
}

// newCompiler returns a compiler that knows the packages of the root module.
func newCompiler(t *testing.T) *compiler {
	t.Helper()
	exports, packages := load(t, root)
	c := &compiler{importer: importFrom(exports)}
	for _, path := range append(packages, library...) {
		c.imports += fmt.Sprintf("import %q\n", path)
	}
	return c
}

// compile returns what is wrong with a snippet.
func (c *compiler) compile(s snippet) error {
	files := token.NewFileSet()
	source := "package snippet\n" + c.imports + assumed +
		"func _() error {\n//line " + s.String() + "\n" + s.code + "\nreturn nil\n}\n"
	file, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	var wrong []error
	config := types.Config{Importer: c.importer, Error: func(err error) {
		if err := err.(types.Error); !err.Soft { // unused variables and imports are soft errors
			wrong = append(wrong, err)
		}
	}}
	_, _ = config.Check("snippet", files, []*ast.File{file}, nil) // its error is among those above
	return errors.Join(wrong...)
}
