package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
)

// Each help text fits on a screen, and describes each option.
func TestHelpFitsOnAScreen(t *testing.T) {
	t.Parallel()
	var list bytes.Buffer
	usage(&list)
	texts := map[string]string{"": list.String()}
	for _, command := range commands() {
		texts[command.Name] = command.Help
		if !strings.HasPrefix(command.Help, "usage: mxseal "+command.Name+" ") {
			t.Errorf("%s: the help text does not begin with the usage", command.Name)
		}
	}
	for name, text := range texts {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) > 24 {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		for _, line := range lines {
			if len(line) > 80 {
				t.Errorf("%s: %d columns: %s", name, len(line), line)
			}
		}
	}
}

// An option in a help text exists. An option that does not is an error that names it.
func TestHelpNamesOptionsThatExist(t *testing.T) {
	t.Parallel()
	option := regexp.MustCompile(`(?m)(?:^  |[ ,\[])(-[a-z][a-z-]*)`)
	for _, command := range commands() {
		names := map[string]bool{"-no-such-option": false}
		for _, found := range option.FindAllStringSubmatch(command.Help, -1) {
			names[found[1]] = true
		}
		for name, exists := range names {
			var stdout, stderr bytes.Buffer
			// An option without a value, or with one that cannot be used, is an error too.
			command.Run(t.Context(), &cli.Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}, []string{name})
			if unknown := strings.Contains(stderr.String(), "not defined: "+name); unknown == exists {
				t.Errorf("%s %s: %s", command.Name, name, stderr.String())
			}
		}
	}
}

func TestSubcommandsAreDocumented(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{nil, cli.ExitUsage, "", "usage: mxseal SUBCOMMAND"},
		{[]string{"help"}, 0, "usage: mxseal SUBCOMMAND", ""},
		{[]string{"-h"}, 0, "check ", ""},
		{[]string{"help", "check"}, 0, "usage: mxseal check", ""},
		{[]string{"check", "-h"}, 0, "usage: mxseal check", ""},
		{[]string{"help", "chekc"}, cli.ExitUsage, "", "no subcommand chekc"},
		{[]string{"\x1b[2J"}, cli.ExitUsage, "", `no subcommand "\x1b[2J"`},
		{[]string{"-version"}, 0, "mxseal ", ""},
		{[]string{"check"}, cli.ExitUsage, "", "mxseal help check"},
		{[]string{"report", "/nonexistent"}, cli.ExitUsage, "", "/nonexistent"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), &cli.Env{Stdout: &stdout, Stderr: &stderr}, tt.args); code != tt.code {
			t.Errorf("%q: exit status %d, want %d", tt.args, code, tt.code)
		}
		for _, each := range []struct{ got, want string }{{stdout.String(), tt.stdout}, {stderr.String(), tt.stderr}} {
			if !strings.Contains(each.got, each.want) || each.want == "" && each.got != "" {
				t.Errorf("%q: %q, want %q", tt.args, each.got, each.want)
			}
		}
	}
}
