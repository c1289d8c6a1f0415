package delivery

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// rsaCertificate is for mx.example.net, with a key for RSA key exchange.
var rsaCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.net"}, DNSNames: []string{"mx.example.net"},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// speaking is a host whose TLS is as configured. Its alerts do not wait for the
// client to read them.
func speaking(config *tls.Config) script {
	return func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		raw := s.conn
		async := newAsyncConn(raw)
		defer close(async.queue)
		conn := tls.Server(async, config)
		if err := conn.Handshake(); err != nil {
			io.Copy(io.Discard, raw)
			return
		}
		s.note("TLS")
		s.conn = conn
		s.lines.Reset(conn)
		s.serve(nil)
		io.Copy(io.Discard, raw)
	}
}

// sessionTLS is what a session has of TLS: "clear", or version and cipher suite.
func (c *Client) sessionTLS() string {
	state, ok := c.TLS()
	if !ok {
		return "clear"
	}
	return tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite)
}

// S15: where no policy demands more, an old server gets the TLS that it has. Where a
// policy does, this never happens, because an attacker could cause it. A session on a
// second attempt is reported as failed.
func TestS15OldServersGetTheirTLS(t *testing.T) {
	t.Parallel()
	certs := []tls.Certificate{rsaCertificate()}
	for _, tt := range []struct {
		name        string
		config      *tls.Config
		session     string // at Opportunistic
		connections int
		mandatory   bool // TLS of the plan is possible at Encrypted
	}{
		{"RSA key exchange", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
			"TLS 1.2 TLS_RSA_WITH_AES_128_CBC_SHA", 2, false},
		{"RSA key exchange with GCM", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_256_GCM_SHA384}},
			"TLS 1.2 TLS_RSA_WITH_AES_256_GCM_SHA384", 2, false},
		{"3DES", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}},
			"TLS 1.2 TLS_RSA_WITH_3DES_EDE_CBC_SHA", 2, false},
		{"3DES with ECDHE", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}},
			"TLS 1.2 TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", 2, false},
		{"TLS 1.0", &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
			"TLS 1.0 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 1, false},
		{"TLS 1.0 with RSA key exchange", &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
			"TLS 1.0 TLS_RSA_WITH_AES_128_CBC_SHA", 2, false},
		{"RC4, which is never offered", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}},
			"clear", 3, false},
		{"today's", &tls.Config{Certificates: certs}, "TLS 1.3 TLS_AES_128_GCM_SHA256", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(speaking(tt.config), speaking(tt.config), inClearOnly)
				client, err := w.dialHost(t, policy.Opportunistic)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				if got := client.sessionTLS(); got != tt.session || len(w.dialed) != tt.connections {
					t.Errorf("session %s after %d connections, want %s after %d", got, len(w.dialed), tt.session, tt.connections)
				}
				if len(w.recorded) != 1 || len(w.recorded[0].Outcomes[0].Failures) != min(tt.connections-1, 1) {
					t.Errorf("recorded %+v", w.recorded)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(speaking(tt.config), speaking(tt.config), inClearOnly)
				client, err := w.dialHost(t, policy.Encrypted)
				if err == nil {
					defer client.Close()
				}
				if (err == nil) != tt.mandatory || len(w.dialed) != 1 {
					t.Errorf("where TLS is mandatory: %d connections, error %v", len(w.dialed), err)
				}
			})
		})
	}
}

// S16: a TLS 1.3 server that demands a client certificate says so after the
// handshake. Where TLS is not mandatory, the mail goes in cleartext, and the report
// has the failure.
func TestS16ClientCertificateDemanded(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
			t.Run(fmt.Sprintf("%s %v", tls.VersionName(version), level), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					demanding := speaking(&tls.Config{
						Certificates: []tls.Certificate{certificates().good}, ClientAuth: tls.RequireAnyClientCert, MinVersion: version, MaxVersion: version,
					})
					w := oneHost(demanding, demanding, inClearOnly)
					if version == tls.VersionTLS13 {
						w = oneHost(demanding, inClearOnly)
					}
					client, err := w.dialHost(t, level)
					if level == policy.Opportunistic {
						if err != nil {
							t.Fatal(err)
						}
						defer client.Close()
						if got := client.sessionTLS(); got != "clear" {
							t.Errorf("session %s", got)
						}
					} else if err == nil || err.Permanent || len(w.dialed) != 1 {
						t.Errorf("%d connections, error %v", len(w.dialed), err)
					}
					if len(w.recorded) != 1 || len(w.recorded[0].Outcomes[0].Failures) != 1 ||
						!strings.HasPrefix(w.recorded[0].Outcomes[0].Failures[0].ReasonCode, "tls-alert") {
						t.Errorf("recorded %+v", w.recorded)
					}
				})
			})
		}
	}
}

// replayed is a connection of which a part has been read.
type replayed struct {
	net.Conn
	r io.Reader
}

func (c replayed) Read(p []byte) (int, error) { return c.r.Read(p) }

// behindNarrowPath is a host to which no ClientHello over 1200 octets gets.
func behindNarrowPath(s *server) {
	s.say(greeting)
	s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
	s.answer("220 go ahead\r\n")
	header := make([]byte, 5)
	if _, err := io.ReadFull(s.conn, header); err != nil {
		return
	}
	if binary.BigEndian.Uint16(header[3:]) > 1200 {
		io.Copy(io.Discard, s.conn)
		return
	}
	s.conn = replayed{s.conn, io.MultiReader(bytes.NewReader(header), s.conn)}
	if s.handshake(certificates().good) {
		s.serve(nil)
	}
}

// S17: a path that drops a large ClientHello. At Opportunistic the second attempt is
// small; a setting makes the first so at all levels; and the error names the cause.
func TestS17LargeClientHello(t *testing.T) {
	t.Parallel()
	for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
		for _, small := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v small %v", level, small), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := oneHost(behindNarrowPath)
					along := w.walk(w.planned(t, at(level, "192.0.2.1")))
					along.dialer.SmallClientHello, along.dialer.SendingIP = small, netip.MustParseAddr("203.0.113.1")
					start := time.Now()
					client, err := along.client(t.Context())
					works := small || level == policy.Opportunistic
					if (err == nil) != works {
						t.Fatalf("error %v", err)
					}
					if err != nil {
						var failure *policy.Error
						if !errors.As(err, &failure) || failure.Permanent || !strings.Contains(err.Error(), "large packets") {
							t.Errorf("error %v", err)
						}
						return
					}
					defer client.Close()
					if got := client.sessionTLS(); got == "clear" {
						t.Error("the session is in cleartext")
					}
					if took := time.Since(start); took > time.Minute || small && took > 0 {
						t.Errorf("took %v", took)
					}
					if len(w.recorded) != 1 || (len(w.recorded[0].Outcomes[0].Failures) == 0) != small {
						t.Fatalf("recorded %+v", w.recorded)
					}
					if s := w.recorded[0]; s.HELO != "mx.example.net" || s.ReceivingIP.String() != "192.0.2.1" || s.SendingIP != along.dialer.SendingIP {
						t.Errorf("recorded a session of %v with %q at %v", s.SendingIP, s.HELO, s.ReceivingIP)
					}
				})
			})
		}
	}
}

// S17: a small ClientHello offers the curves that servers have, and no other key exchange.
func TestS17CurvesOfASmallClientHello(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var offered []tls.CurveID
		w := oneHost(speaking(&tls.Config{
			Certificates: []tls.Certificate{certificates().good},
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				offered = hello.SupportedCurves
				return nil, nil
			},
		}))
		along := w.walk(w.planned(t, at(policy.Authenticated, "192.0.2.1")))
		along.dialer.SmallClientHello = true
		client, err := along.client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if want := []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}; !slices.Equal(offered, want) {
			t.Errorf("%v are offered, want %v", offered, want)
		}
	})
}

// negativeSerial is the certificate with the serial number -1, which crypto/x509 does
// not parse.
func negativeSerial() tls.Certificate {
	cert := certificates().good
	serial, negative := []byte{2, 1, 1}, []byte{2, 1, 0xff}
	der := bytes.Replace(cert.Certificate[0], serial, negative, 2) // the version and the serial number
	der = bytes.Replace(der, []byte{0xa0, 3, 2, 1, 0xff}, []byte{0xa0, 3, 2, 1, 1}, 1)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: cert.PrivateKey}
}

// S18: Go refuses some certificates before anything can verify them. The error says
// what helps.
func TestS18UnparsableCertificate(t *testing.T) {
	t.Parallel()
	for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
		t.Run(level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert := negativeSerial()
				if _, err := x509.ParseCertificate(cert.Certificate[0]); err == nil || !strings.Contains(err.Error(), "negative serial") {
					t.Fatalf("the test shows nothing: %v", err)
				}
				odd := speaking(&tls.Config{Certificates: []tls.Certificate{cert}})
				w := oneHost(odd, odd, inClearOnly)
				client, err := w.dialHost(t, level)
				if level == policy.Opportunistic {
					if err != nil {
						t.Fatal(err)
					}
					client.Close()
					return
				}
				if err == nil || err.Permanent || err.Reason != tlsrpt.ValidationFailure || !strings.Contains(err.Error(), "GODEBUG=x509negativeserial=1") {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// alerting is a host that answers a ClientHello by a record of TLS.
func alerting(record ...byte) script {
	return func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		s.conn.Read(make([]byte, 16<<10))
		s.say(string(record))
	}
}

// S19: with RequireTLS, a server that says it lacks the TLS that is needed makes the
// failure permanent (RFC 8689 section 4.2.1). Anything else may be different later.
func TestS19AlertsUnderRequireTLS(t *testing.T) {
	t.Parallel()
	alert := func(code byte) script { return alerting(21, 3, 3, 0, 2, 2, code) }
	certs := []tls.Certificate{certificates().good}
	// A ServerHello of TLS 1.0, from a server that does not know of later versions.
	hello := slices.Concat([]byte{22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1}, make([]byte, 32), []byte{0, 0, 0x2f, 0})
	for name, tt := range map[string]struct {
		play      script
		permanent bool
	}{
		"handshake_failure":     {alert(40), true},
		"protocol_version":      {alert(70), true},
		"insufficient_security": {alert(71), true},
		"internal_error":        {alert(80), false},
		"certificate_required":  {alert(116), false},
		"unrecognized_name":     {alert(112), false},
		"decode_error":          {alert(50), false},
		"close_notify":          {alert(0), false},
		"unknown":               {alert(200), false},
		"in an old record":      {alerting(21, 3, 1, 0, 2, 2, 70), true},
		"TLS 1.1 at most":       {speaking(&tls.Config{Certificates: certs, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), true},
		"TLS 1.0 is chosen":     {alerting(hello...), true},
		"no common suite":       {speaking(&tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}}), true},
		"client certificate":    {speaking(&tls.Config{Certificates: certs, ClientAuth: tls.RequireAnyClientCert}), false},
		"not TLS":               {alerting([]byte("500 what?\r\n")...), false},
		"closes":                {alerting(), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(tt.play)
				w.options = []policy.Option{policy.RequireTLS()}
				_, err := w.dialHost(t, policy.Authenticated)
				if err == nil || err.Permanent != tt.permanent || tt.permanent && err.Status != "5.7.10" {
					t.Errorf("error %+v", err)
				}
				// Without RequireTLS, anyone on the path may have said so.
				_, err = oneHost(tt.play).dialHost(t, policy.Authenticated)
				if err == nil || err.Permanent {
					t.Errorf("without RequireTLS: error %+v", err)
				}
			})
		})
	}
}
