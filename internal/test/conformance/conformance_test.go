// Package conformance holds CONFORMANCE.md against the tests that it names.
package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// row is a line of a table: a rule, and the files that show it.
var row = regexp.MustCompile(`(?m)^\| ([A-Z]+)-(\d+) \|.*\| ([^|]*) \|$`)

// mention is a rule, or a range of rules, in a test's name or comment.
var mention = regexp.MustCompile(`\b([A-Z]+)-(\d+)(?:(?:,? and|,| to) (?:[A-Z]+-)?\d+)*`)

var step = regexp.MustCompile(`(to )?(?:([A-Z]+)-)?(\d+)`)

// mentioned returns the rules that a file names.
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

// Each rule that CONFORMANCE.md calls shown is named by the tests that it points
// to.
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
			continue // not for a sender's library, with the reason
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
