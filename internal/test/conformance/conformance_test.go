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

// row matches a table row: a rule and the files with its tests.
var row = regexp.MustCompile(`(?m)^\| ([A-Z]+)-(\d+) \|.*\| ([^|]*) \|$`)

// mention matches a rule or a range of rules in the name or comment of a test.
var mention = regexp.MustCompile(`\b([A-Z]+)-(\d+)(?:(?:,? and|,| to) (?:[A-Z]+-)?\d+)*`)

var step = regexp.MustCompile(`(to )?(?:([A-Z]+)-)?(\d+)`)

// mentioned returns the rules that a file mentions.
func mentioned(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Errorf("CONFORMANCE.md names a file that is not there: %v", err)
		return nil
	}
	flat := regexp.MustCompile(`\n\s*//\s*`).ReplaceAllString(string(text), " ")
	found := map[string]bool{}
	for _, list := range mention.FindAllString(flat, -1) {
		prefix, last := "", 0
		for _, part := range step.FindAllStringSubmatch(list, -1) {
			if part[2] != "" {
				prefix = part[2]
			}
			number, _ := strconv.Atoi(part[3])
			from := number
			if part[1] != "" {
				from = last
			}
			for n := from; n <= number; n++ {
				found[prefix+"-"+strconv.Itoa(n)] = true
			}
			last = number
		}
	}
	return found
}

// The tests that CONFORMANCE.md lists for a rule mention that rule.
func TestRulesAreShown(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "CONFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]map[string]bool{}
	shown := 0
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		rule, cell := match[1]+"-"+match[2], match[3]
		if !strings.Contains(cell, "_test.go") {
			continue // does not apply to this library; the cell has the reason
		}
		shown++
		for _, file := range strings.Fields(cell) {
			if files[file] == nil {
				files[file] = mentioned(t, file)
			}
			if !files[file][rule] {
				t.Errorf("%s does not name %s", file, rule)
			}
		}
	}
	if shown < 400 {
		t.Errorf("only %d rules are shown", shown)
	}
}

// note matches a field note, or a list of them, in a comment. finding matches a
// finding in a comment or in the name of a test.
var (
	note    = regexp.MustCompile(`[Ff]ield notes? (\d+(?:(?:,? and|,| to) \d+)*)`)
	finding = regexp.MustCompile(`\b(?:[Ff]inding |Test)([MDSRC]\d+)(?:\b|[A-Z_])`)
)

// rules are the prefixes of rule IDs.
var rules = strings.Fields("STS DANE OPS TLSA REQ NMX STT SEC RPT AMB GO SMTP SIZE BODY EAI DSN PIPE AUTH SUB OAUTH")

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
		var ids []string
		for id := range mentioned(t, file) {
			// In "STT-1, 454", the number is a reply code and not a rule.
			prefix, number, _ := strings.Cut(id, "-")
			if n, _ := strconv.Atoi(number); slices.Contains(rules, prefix) && n < 200 {
				ids = append(ids, id)
			}
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
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
// CI; see interop.NeedThat.
func TestNothingElseIsSkipped(t *testing.T) {
	skip := regexp.MustCompile(`\.Skip(Now|f)?\(`)
	for _, file := range testFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if call := skip.Find(text); call != nil {
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
