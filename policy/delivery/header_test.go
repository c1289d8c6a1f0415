package delivery

import (
	"bytes"
	"strings"
	"testing"
)

// REQ-17, REQ-22: the field counts once, with its one value, in the header.
func TestSaysTLSOptional(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"TLS-Required: No\r\n\r\nbody":                        true,
		"From: a@example.org\r\nTLS-Required: No\r\n\r\nbody": true,
		"tls-required:no\n\nbody":                             true,
		"TLS-Required:\r\n No\r\n\r\n":                        true,
		"TLS-Required: No":                                    true,
		"TLS-Required: No \t\r\n\r\n":                         true,

		"":                                 false,
		"TLS-Required: Yes\r\n\r\n":        false,
		"TLS-Required:\r\n\r\n":            false,
		"TLS-Required: No way\r\n\r\n":     false,
		"TLS-Required: No\r\n way\r\n\r\n": false,
		"TLS-Required: No\r\nTLS-Required: No\r\n\r\n":              false,
		"TLS-Required: No\r\nTLS-Required : Yes\r\n\r\n":            false,
		"TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n":             false,
		"X-TLS-Required: No\r\n\r\n":                                false,
		"TLS-Required-X: No\r\n\r\n":                                false,
		"Subject: x\r\n TLS-Required: No\r\n\r\n":                   false, // a folded subject
		" TLS-Required: No\r\n\r\n":                                 false,
		"From: a@example.org\r\n\r\nTLS-Required: No\r\n":           false, // in the body
		"From: a@example.org\n\nTLS-Required: No\n":                 false,
		"no header\r\nTLS-Required: No\r\n\r\n":                     false,
		"Subject: x\rTLS-Required: No\r\n\r\n":                      false,
		"Subject: x\r\n" + strings.Repeat(" x\r\n", 1<<16) + "\r\n": false,
	} {
		if saysTLSOptional([]byte(message)) != want {
			t.Errorf("saysTLSOptional(%.60q) = %v", message, !want)
		}
	}
}

func FuzzSaysTLSOptional(f *testing.F) {
	f.Add([]byte("From: a@example.org\r\nTLS-Required:\r\n No\r\n\r\nbody"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if !saysTLSOptional(message) {
			return
		}
		if !bytes.Contains(bytes.ToLower(message), []byte("tls-required")) {
			t.Fatalf("%q", message)
		}
		// A second field takes the meaning away.
		if saysTLSOptional(append([]byte("TLS-Required: No\r\n"), message...)) {
			t.Fatalf("twice: %q", message)
		}
	})
}

func TestHasBareCR(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"":               false,
		"a\r\nb\nc\r\n":  false,
		"a\rb":           true,
		"a\r":            true,
		"a\r\r\nb":       true,
		"a\n\r.\r\nMAIL": true,
	} {
		if hasBareCR([]byte(message)) != want {
			t.Errorf("hasBareCR(%q) = %v", message, !want)
		}
	}
}
