package relay

import (
	"strings"
	"testing"
)

// read reads a message as a session does.
func read(text string) (message []byte, requireTLS bool, wrong *reply) {
	var space room
	space.left.Store(1 << 20)
	b := newBody(nil, 1<<20, &space)
	b.add([]byte(text))
	return b.message()
}

// Postfix 3.11 says in the header that a message requires TLS on its whole way. It can only make it stricter.
func TestRequireTLSField(t *testing.T) {
	for _, test := range []struct {
		text, rest string
		requireTLS bool
	}{
		{"Subject: x\r\n\r\nRequire-TLS-ESMTP: yes\r\n", "Subject: x\r\n\r\nRequire-TLS-ESMTP: yes\r\n", false},
		{"require-tls-esmtp : YES\r\nSubject: x\r\n\r\n", "Subject: x\r\n\r\n", true},
		{"A: b\r\nRequire-TLS-ESMTP: yes\r\n folded\r\nC: d\r\n\r\ntext\r\n", "A: b\r\nC: d\r\n\r\ntext\r\n", true},
		{"Require-TLS-ESMTP: no\r\nRequire-TLS-ESMTP: yes\r\n\r\n", "\r\n", true},
		{"Require-TLS-ESMTP: no\r\n\r\n", "\r\n", false},
		{"Require-TLS-ESMTP: yes\r\n", "", true},
	} {
		message, requireTLS, wrong := read(test.text)
		if wrong != nil || string(message) != test.rest || requireTLS != test.requireTLS {
			t.Errorf("%q: %q, %t, %v", test.text, message, requireTLS, wrong)
		}
	}
}

func TestRequireTLSIsDemanded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.mailHost("plain.test")
	if err := w.start(t, false).send("you@plain.test", "Require-TLS-ESMTP: yes\r\n"+greeting); err == nil || !strings.Contains(err.Error(), "5.7.30") || len(plain.Messages()) > 0 {
		t.Errorf("%v, %d messages", err, len(plain.Messages()))
	}
}
