package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A rule is a row of CONFORMANCE.md.
type rule struct {
	id      string // "STS-5"
	section string // the heading above it
	clause  string // "MUST §3.1"
	shown   []shown
}

// shown is a test that shows a rule: "mtasts.TestParseRecord/STS-5" is the rows of
// TestParseRecord whose names have STS-5, and "mtasts.TestRefresh" is the whole test.
type shown struct {
	dir  string // of the package
	test string
	row  bool
}

// row matches a table row: a rule, its clause, and the tests that show it.
var row = regexp.MustCompile(`^\| ([A-Z]+-\d+) \| ([^|]*) \|.*\| ([^|]*) \|$`)

var named = regexp.MustCompile(`^(\S+)\.((?:Test|Fuzz|Example)\w*)(?:/([A-Z]+-\d+))?$`)

// counted matches the line below a heading.
var counted = regexp.MustCompile(`^(\d+) of (\d+) are shown by tests\.$`)

// readRules returns the rows of CONFORMANCE.md. Those that name no test say why.
func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "CONFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []rule
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = heading
		}
		match := row.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		r := rule{id: match[1], section: section, clause: match[2]}
		for cell := range strings.FieldsSeq(match[3]) {
			name := named.FindStringSubmatch(cell)
			if name == nil {
				continue
			}
			if name[3] != "" && name[3] != r.id {
				t.Errorf("CONFORMANCE.md: %s is shown by the rows of another rule: %s", r.id, cell)
			}
			r.shown = append(r.shown, shown{dir: name[1], test: name[2], row: name[3] != ""})
		}
		if len(r.shown) > 0 && len(r.shown) != len(strings.Fields(match[3])) || strings.Contains(match[3], "_test.go") {
			t.Errorf("CONFORMANCE.md: %s is shown by %q, want names such as mtasts.TestParseRecord/STS-5, or the reason why by none", r.id, match[3])
		}
		rules = append(rules, r)
	}
	return rules
}

// The numbers below the headings are those of the tables.
func TestRulesAreCounted(t *testing.T) {
	t.Parallel()
	inAll, withTests := map[string]int{}, map[string]int{}
	for _, r := range readRules(t) {
		inAll[r.section]++
		if len(r.shown) > 0 {
			withTests[r.section]++
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "CONFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	section, seen := "", 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = heading
		}
		if match := counted.FindStringSubmatch(line); match != nil {
			seen++
			if match[1] != strconv.Itoa(withTests[section]) || match[2] != strconv.Itoa(inAll[section]) {
				t.Errorf("CONFORMANCE.md: %s: %q, but the table has %d of %d", section, line, withTests[section], inAll[section])
			}
		}
	}
	if seen != len(inAll) {
		t.Errorf("CONFORMANCE.md has %d tables, and %d have a line with numbers", len(inAll), seen)
	}
}

// mention matches a rule or a range of rules in the name or comment of a test.
var mention = regexp.MustCompile(`\b([A-Z]+)-(\d+)(?:(?:,? and|,| to) (?:[A-Z]+-)?\d+)*`)

var step = regexp.MustCompile(`(to )?(?:([A-Z]+)-)?(\d+)`)

var brokenLine = regexp.MustCompile(`\n\s*//\s*`)

// mentioned adds the rules that a text mentions.
func mentioned(found map[string]bool, text string) {
	flat := brokenLine.ReplaceAllString(text, " ")
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
}
