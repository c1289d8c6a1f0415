package conversation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

func TestGreetingName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mx.example.net ESMTP":  "mx.example.net",
		"mx.example.net":        "mx.example.net",
		"***********":           "",
		"<script>":              "",
		"":                      "",
		strings.Repeat("a", 64): "",
	} {
		if got := greetingName(wire.Reply{Code: 220, Lines: []string{text}}); got != want {
			t.Errorf("greetingName(%q) = %q", text, got)
		}
	}
}

// slow is an error of a connection that is not one of package net or os.
type slow struct{ error }

func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

func TestIsTimeout(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		os.ErrDeadlineExceeded:                             true,
		context.DeadlineExceeded:                           true,
		context.Canceled:                                   false,
		io.ErrUnexpectedEOF:                                false,
		slow{errors.New("a Dial of the caller")}:           true,
		&net.OpError{Op: "read", Err: slow{io.EOF}}:        true,
		&net.OpError{Op: "read", Err: io.EOF}:              false,
		fmt.Errorf("wrapped: %w", slow{io.EOF}):            true,
		&net.DNSError{Err: "timeout", IsTimeout: true}:     true,
		&net.DNSError{UnwrapErr: os.ErrDeadlineExceeded}:   true,
		&net.DNSError{UnwrapErr: context.DeadlineExceeded}: true,
		&net.DNSError{Err: "timeout", IsTimeout: false}:    false,
	} {
		if got := IsTimeout(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// What a server sends instead of a reply is garbage, and not the end of the connection:
// inside TLS, only the latter leads to an attempt with less TLS.
func TestEventOfEachError(t *testing.T) {
	t.Parallel()
	alert := func(number uint8) error { return &net.OpError{Op: "remote error", Err: tls.AlertError(number)} }
	for name, tt := range map[string]struct {
		err  error
		want Event
	}{
		"no error":                 {nil, 250},
		"no reply":                 {wire.ErrNotReply, Garbage},
		"a reply that is too long": {wire.ErrTooLong, Garbage},
		"an unasked reply":         {wire.ErrUnasked, Garbage},
		"an injected reply":        {wire.ErrInjection, Garbage},
		"verification":             {&policy.Error{Err: io.EOF}, Unverified},
		"handshake_failure":        {alert(40), Incapable},
		"certificate_required":     {alert(116), Alerted},
		"a timeout":                {os.ErrDeadlineExceeded, TimedOut},
		"the end":                  {io.EOF, Lost},
	} {
		err := tt.err
		if err != nil {
			err = fmt.Errorf("wrapped: %w", err)
		}
		if got := EventOf(wire.Reply{Code: 250}, err); got != tt.want {
			t.Errorf("%s: event %d, want %d", name, got, tt.want)
		}
	}
}

// The enhanced status of a 552 reply says whether it is about the mailbox or the message.
func TestNamesOwnLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"5.2.2 mailbox full":      true,
		"5.3.4 message too big":   true,
		"5.5.3 too many":          false,
		"5.3.3 not capable":       false,
		"4.2.2 mailbox full":      false, // not the class of the code
		"too many recipients":     false,
		"5.2.2.1 nothing of this": false,
	} {
		if got := NamesOwnLimit(wire.Reply{Code: 552, Lines: []string{text}}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A caller's changes are taken over unless they concern verification or weaken TLS.
func TestTakeOverKeepsVerification(t *testing.T) {
	t.Parallel()
	insecure := tls.InsecureCipherSuites()[0].ID
	config := &tls.Config{ServerName: "mx.example.net", MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	takeOver(config, &tls.Config{
		ServerName:       "elsewhere.example",
		MinVersion:       tls.VersionTLS10,
		MaxVersion:       tls.VersionTLS12,
		CipherSuites:     []uint16{insecure, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		CurvePreferences: []tls.CurveID{tls.CurveP256},
		NextProtos:       []string{"smtp"},
		Certificates:     []tls.Certificate{{Certificate: [][]byte{{1}}}},
		KeyLogWriter:     io.Discard,
	})
	switch {
	case config.ServerName != "mx.example.net" || config.MinVersion != tls.VersionTLS12:
		t.Errorf("%q from version %x", config.ServerName, config.MinVersion)
	case !slices.Equal(config.CipherSuites, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}):
		t.Errorf("the cipher suites are %x", config.CipherSuites)
	case config.MaxVersion != tls.VersionTLS12 || !slices.Equal(config.CurvePreferences, []tls.CurveID{tls.CurveP256}) ||
		!slices.Equal(config.NextProtos, []string{"smtp"}) || len(config.Certificates) != 1 || config.KeyLogWriter != io.Discard:
		t.Errorf("%+v", config)
	}
	takeOver(config, &tls.Config{MinVersion: tls.VersionTLS13})
	if config.MinVersion != tls.VersionTLS13 {
		t.Errorf("from version %x", config.MinVersion)
	}
}

// Old servers get every cipher suite that package crypto/tls has, except for RC4.
func TestAddOldTLS(t *testing.T) {
	t.Parallel()
	config := &tls.Config{}
	addOldTLS(config)
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		isRC4 := strings.Contains(suite.Name, "RC4")
		if count := len(slices.DeleteFunc(slices.Clone(config.CipherSuites), func(id uint16) bool { return id != suite.ID })); (count == 1) == isRC4 {
			t.Errorf("%s is offered %d times", suite.Name, count)
		}
	}
}

// Two handshakes with a client certificate that is chosen in them are equal if the same
// one would be chosen again. A handshake without such a choice equals none with one.
func TestCustomHandshakesThatAreEqual(t *testing.T) {
	t.Parallel()
	chooses := func(octet byte) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{{octet}}}, nil
		}
	}
	fails := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate") }
	asked := new(tls.CertificateRequestInfo)
	one := digestOf(&tls.Certificate{Certificate: [][]byte{{1}}})
	for _, tt := range []struct {
		what        string
		before, now custom
		want        bool
	}{
		{"nothing", custom{}, custom{}, true},
		{"other fields", custom{fields: "a"}, custom{fields: "b"}, false},
		{"a choice now", custom{}, custom{choose: chooses(1)}, false},
		{"a choice before, not asked", custom{choose: chooses(1)}, custom{}, false},
		{"a choice before", custom{choose: chooses(1), asked: asked, sent: one}, custom{}, false},
		{"a choice that was not asked for", custom{choose: chooses(1)}, custom{choose: chooses(2)}, true},
		{"the same choice", custom{choose: chooses(1), asked: asked, sent: one}, custom{choose: chooses(1)}, true},
		{"another choice", custom{choose: chooses(1), asked: asked, sent: one}, custom{choose: chooses(2)}, false},
		{"a choice that fails", custom{choose: chooses(1), asked: asked}, custom{choose: fails}, false},
	} {
		if got := tt.before.equals(tt.now); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}
