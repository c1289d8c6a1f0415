package cli

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestCleanIsPrintableAndShort(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain text":              "plain text",
		"\x1b[2J":                 `"\x1b[2J"`,
		"é":                       `"\u00e9"`,
		strings.Repeat("a", 3000): strings.Repeat("a", maxText) + "...",
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// JSON is ASCII, whatever the text.
func TestWriteJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteJSON(&b, "a\x1b\u202e\x7f\U0001f600é"); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), `"a\u001b\u202e\u007f\ud83d\ude00\u00e9"`+"\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Options may come before and after the arguments.
func TestParseOptionsAnywhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, want string
		set        bool
	}{
		{"-set a b", "a b", true},
		{"a -set b", "a b", true},
		{"a b -set", "a b", true},
		{"a -- -set", "a -set", false},
		{"-- -set b", "-set b", false},
		{"a b", "a b", false},
		{"", "", false},
	} {
		flags := NewFlags(Command{Name: "x"})
		set := flags.Bool("set", false, "")
		arguments, err := flags.Parse(&Env{}, strings.Fields(tt.args))
		if got := strings.Join(arguments, " "); err != nil || got != tt.want || *set != tt.set {
			t.Errorf("%s: %q, %v, %v", tt.args, got, *set, err)
		}
	}
	var stdout, stderr bytes.Buffer
	env := &Env{Stdout: &stdout, Stderr: &stderr}
	if _, err := NewFlags(Command{Name: "x", Help: "how to\n"}).Parse(env, []string{"a", "-h"}); !errors.Is(err, flag.ErrHelp) || stdout.String() != "how to\n" {
		t.Errorf("help: %v %q", err, stdout.String())
	}
	if _, err := NewFlags(Command{Name: "x"}).Parse(env, []string{"-\x1b"}); err == nil || !strings.Contains(stderr.String(), `\x1b`) {
		t.Errorf("unknown option: %v %q", err, stderr.String())
	}
}
