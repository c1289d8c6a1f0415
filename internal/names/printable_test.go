package names_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   string
		max  int
		want string
	}{
		{"", 10, ""},
		{" plain text ", 20, " plain text "},
		{`"quoted" and \n`, 20, `"quoted" and \n`},
		{"line\r\nline", 20, `line\r\nline`},
		{"\x1b[31mred\x07\x00\x7f", 40, `\x1b[31mred\a\x00\x7f`},
		{"b\u00fccher", 40, `b\u00fccher`},
		{"\u202egro.elpmaxe", 40, `\u202egro.elpmaxe`},
		{"\u2028\u2029\u0085", 40, `\u2028\u2029\u0085`},
		{"\U0001f600", 40, `\U0001f600`},
		{"\xffa\xc3", 40, `\xffa\xc3`},
		{"0123456789", 10, "0123456789"},
		{"0123456789a", 10, "0123456..."},
		{"01234567\n", 10, `01234567\n`},
		{"012345678\n", 10, "0123456..."},
		{"012345\nabc", 10, "012345..."}, // no half escape
		{"\n\n\n\n\n\n", 10, `\n\n\n...`},
		{"\U0001f600", 9, "..."},
	} {
		if got := names.Printable(test.in, test.max); got != test.want {
			t.Errorf("Printable(%q, %d) = %q, want %q", test.in, test.max, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   string
		max  int
		want string
	}{
		{"", 4, `""`},
		{"abcd", 4, `"abcd"`},
		{"abcde", 4, `"abcd"...`},
		{"a\"\\\n", 4, `"a\"\\\n"`},
		{"\u00fc\xff", 4, `"\u00fc\xff"`},
	} {
		if got := names.Quote(test.in, test.max); got != test.want {
			t.Errorf("Quote(%q, %d) = %s, want %s", test.in, test.max, got, test.want)
		}
	}
}

// RFC 8460 section 4.3.3: a failure-reason-code is a short text.
func TestMask(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   string
		max  int
		want string
	}{
		{"", 4, ""},
		{"  a b\t", 10, "a b?"},
		{" a b ", 10, "a b"},
		{"tls-alert\r\n\x1b", 20, "tls-alert???"},
		{"b\u00fccher\xff", 20, "b?cher?"},
		{"abcdef", 4, "abcd"},
		{"abc def", 4, "abc"},
		{strings.Repeat("\U0001f600", 9), 4, "????"},
	} {
		if got := names.Mask(test.in, test.max); got != test.want {
			t.Errorf("Mask(%q, %d) = %q, want %q", test.in, test.max, got, test.want)
		}
	}
}

// Whatever the text, what is printed is one short line of ASCII, and printing it
// again changes nothing.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"plain", "a\nb", "\x1b[0m", "\xff\xfe", "b\u00fccher", strings.Repeat("\U0001f600", 9)} {
		f.Add(s, 16)
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		max = 3 + max&0xff
		for what, show := range map[string]func(string, int) string{"Printable": names.Printable, "Mask": names.Mask} {
			shown := show(s, max)
			if len(shown) > max || strings.ContainsFunc(shown, notPrintable) {
				t.Errorf("%s(%q, %d) = %q", what, s, max, shown)
			}
			if again := show(shown, max); again != shown {
				t.Errorf("%s(%q, %d) = %q, and of that %q", what, s, max, shown, again)
			}
		}
		quoted := names.Quote(s, max)
		if len(quoted) > 10*max+5 || strings.ContainsFunc(quoted, notPrintable) {
			t.Errorf("Quote(%q, %d) = %q", s, max, quoted)
		}
		if back, err := strconv.Unquote(strings.TrimSuffix(quoted, "...")); len(s) <= max && (back != s || err != nil) {
			t.Errorf("Quote(%q, %d) = %q, which is %q, %v", s, max, quoted, back, err)
		}
	})
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }
