package tlsalert_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/internal/tlsalert"
)

// handshake returns the client's error of a handshake with crypto/tls on both sides.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		tls.Server(theirs, server).Handshake()
		theirs.Close()
	}()
	client.InsecureSkipVerify = true
	return tls.Client(ours, client).Handshake()
}

// S19: the alerts of real handshakes.
func TestS19AlertsOfRealHandshakes(t *testing.T) {
	t.Parallel()
	certs := []tls.Certificate{testpki.SelfSigned(t, nil).TLS()}
	for name, test := range map[string]struct {
		client, server *tls.Config
		number         uint8
		incapable      bool
	}{
		"no version in common": {&tls.Config{MinVersion: tls.VersionTLS12}, &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS11}, 70, true},
		"no suite in common": {
			&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}},
			&tls.Config{Certificates: certs, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, 40, true,
		},
		"another protocol": {&tls.Config{NextProtos: []string{"a"}}, &tls.Config{Certificates: certs, NextProtos: []string{"b"}}, 120, false},
		"no certificate":   {&tls.Config{}, &tls.Config{}, 112, false},
	} {
		err := handshake(t, test.client, test.server)
		wrapped := fmt.Errorf("client: %w", err)
		if number, ok := tlsalert.Remote(wrapped); !ok || number != test.number {
			t.Errorf("%s: alert %d, %v of %v, want %d", name, number, ok, err, test.number)
		}
		if got := tlsalert.Incapable(err); got != test.incapable {
			t.Errorf("%s: %v is incapable: %v", name, err, got)
		}
	}
}

func TestOtherErrorsAreNoAlerts(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		nil, io.EOF, errors.New("tls: handshake failure"), tls.AlertError(40), &net.OpError{Op: "read", Err: tls.AlertError(40)},
		&net.OpError{Op: "remote error", Err: io.EOF},
	} {
		if number, ok := tlsalert.Remote(err); ok {
			t.Errorf("%v is alert %d", err, number)
		}
		if tlsalert.Incapable(err) {
			t.Errorf("%v is incapable", err)
		}
	}
	chosen := errors.New("tls: server selected unsupported protocol version 301")
	if !tlsalert.Incapable(chosen) || !tlsalert.Incapable(fmt.Errorf("client: %w", chosen)) {
		t.Error("an old version that the server chose")
	}
}
