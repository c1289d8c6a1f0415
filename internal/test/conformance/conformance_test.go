// Package conformance checks that CONFORMANCE.md and docs/test-ids.md match the
// tests.
package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// note matches a field note, or a list of them, in a comment. finding matches a
// finding in a comment or in the name of a test.
var (
	note    = regexp.MustCompile(`[Ff]ield notes? (\d+(?:(?:,? and|,| to) \d+)*)`)
	finding = regexp.MustCompile(`\b(?:[Ff]inding |Test)([MDSRC]\d+)(?:\b|[A-Z_])`)
)

// prefixes are those of rule IDs.
var prefixes = strings.Fields("STS DANE OPS TLSA REQ NMX STT SEC RPT AMB GO SMTP SIZE BODY EAI DSN PIPE AUTH SUB OAUTH")

// Every ID that a test mentions is explained in CONFORMANCE.md or
// docs/test-ids.md.
func TestIDsAreExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, page := range []string{"CONFORMANCE.md", "docs/test-ids.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^\| (\S+) \|`).FindAllStringSubmatch(string(text), -1) {
			explained[match[1]] = true
		}
	}
	cited := 0
	for _, file := range testFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		rules := map[string]bool{}
		mentioned(rules, string(text))
		for id := range rules {
			// In "STT-1, 454", the number is a reply code and not a rule.
			prefix, number, _ := strings.Cut(id, "-")
			if n, _ := strconv.Atoi(number); slices.Contains(prefixes, prefix) && n < 200 {
				ids = append(ids, id)
			}
		}
		for _, match := range note.FindAllStringSubmatch(string(text), -1) {
			ids = append(ids, regexp.MustCompile(`\d+`).FindAllString(match[1], -1)...)
		}
		for _, match := range finding.FindAllStringSubmatch(string(text), -1) {
			ids = append(ids, match[1])
		}
		cited += len(ids)
		for _, id := range ids {
			if !explained[id] {
				t.Errorf("%s cites %s, which neither CONFORMANCE.md nor docs/test-ids.md explains", file, id)
			}
		}
	}
	if cited < 800 {
		t.Errorf("only %d citations were found", cited)
	}
}

// Only tests that compare with another program can be skipped, and only outside
// CI; see interop.NeedThat. With -short, slow ones are too.
func TestNothingElseIsSkipped(t *testing.T) {
	skip := regexp.MustCompile(`\.Skip(Now|f)?\(`)
	short := regexp.MustCompile(`if testing\.Short\(\) \{\s*t\.Skip\(".*"\)\s*\}`)
	for _, file := range testFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if call := skip.Find(short.ReplaceAll(text, nil)); call != nil {
			t.Errorf("%s calls %s; use interop.Need or interop.NeedThat, which fail in CI", file, call)
		}
	}
}

// testFiles returns the test files of all modules, except this one.
func testFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, "_test.go") && name != "internal/test/conformance/conformance_test.go" {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
