package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
)

// The manual page is correct mdoc.
func TestManualPageIsCorrect(t *testing.T) {
	t.Parallel()
	mandoc := interop.Need(t, "mandoc")
	out, err := exec.CommandContext(t.Context(), mandoc, "-T", "lint", "-W", "warning", "mxseal.1").CombinedOutput()
	if text := string(out); err != nil || strings.Contains(text, "mxseal.1:") {
		t.Errorf("%v\n%s", err, text)
	}
}

// The manual page has each subcommand and option of the help texts.
func TestManualPageIsComplete(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("mxseal.1")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	option := regexp.MustCompile(`(?m)(?:^  |[ ,])-([a-z][a-z-]*)`)
	for _, command := range commands() {
		_, section, found := strings.Cut(text, "\n.Ss "+command.Name+"\n")
		if !found && !strings.Contains(text, "\n.Xr mxseal-"+command.Name+" ") {
			t.Errorf("no section about %s", command.Name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n.Ss ")
		_, network, _ := strings.Cut(text, "\n.Ss Options about the network\n")
		network, _, _ = strings.Cut(network, "\n.Sh ")
		for _, match := range option.FindAllStringSubmatch(command.Help, -1) {
			if entry := ".It Fl " + match[1]; found && !strings.Contains(section, entry) && !strings.Contains(network, entry) {
				t.Errorf("%s: no entry for -%s", command.Name, match[1])
			}
		}
	}
}
