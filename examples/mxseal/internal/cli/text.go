package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// maxText limits text from servers, in octets.
const maxText = 2000

// Clean truncates long text and quotes text with control characters or other characters
// that a terminal could act on. Most text that is printed comes from servers.
func Clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return fmt.Sprintf("%+q", s)
		}
	}
	return s
}

// Options replaces what the library calls a setting by the name of the option for it.
func Options(text string) string {
	return strings.NewReplacer("Config.AllowMailHost", "the option -allow", "Config.AllowPolicyHost", "the option -allow").Replace(text)
}

// WriteJSON writes a value as one line of JSON. It escapes everything but ASCII, because
// package json does not escape all characters that a terminal could act on.
func WriteJSON(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, c := range string(text) {
		switch {
		case c < 0x7f:
			b.WriteRune(c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}
