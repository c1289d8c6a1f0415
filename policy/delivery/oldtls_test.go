package delivery_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// suites is a server that has only some cipher suites of TLS 1.2.
func suites(ids ...uint16) policytest.Option {
	return policytest.TLSConfig(func(c *tls.Config) { c.CipherSuites = ids })
}

// version is a server that speaks one version of TLS.
func version(v uint16) policytest.Option {
	return policytest.TLSConfig(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v })
}

// curves is a server that has only some groups for the key exchange.
func curves(ids ...tls.CurveID) policytest.Option {
	return policytest.TLSConfig(func(c *tls.Config) { c.CurvePreferences = ids })
}

func both(options ...policytest.Option) policytest.Option {
	return func(b *policytest.Behavior) {
		for _, option := range options {
			option(b)
		}
	}
}

// impatient is a connection to a mail host on a path that drops a ClientHello of more than
// max octets. Its client does not wait for the reply to one; nothing else is late, however
// busy the machine is.
type impatient struct {
	net.Conn
	max     int
	dropped bool
}

func (c *impatient) Write(p []byte) (int, error) {
	const record, header = 22, 5 // RFC 8446 section 5.1
	c.dropped = c.dropped || len(p)-header > c.max && p[0] == record
	return c.Conn.Write(p)
}

func (c *impatient) Read(p []byte) (int, error) {
	if c.dropped {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p)
}

// S15, S17: what each policy permits of a server with old TLS, and of a path that drops
// a large ClientHello. A second attempt with less TLS is made only where nothing demands
// TLS, and it is recorded as failed: also for a policy in testing mode, which would have
// failed. DANE-33, STS-78, STS-93.
func TestS15S17OldServersUnderEachPolicy(t *testing.T) {
	t.Parallel()
	const (
		failed = "failed"
		clear  = "clear"
	)
	type outcome struct {
		session     string // the TLS version, clear or failed
		connections int
	}
	for name, test := range map[string]struct {
		server policytest.Option
		small  bool   // the setting SmallClientHello
		drops  int    // a ClientHello of more octets gets no answer; 0: all get one
		is     string // the session with every host, at the first connection
		// optional is what becomes of mail where nothing demands TLS, if that is not all.
		optional outcome
	}{
		"TLS 1.3":                            {server: version(tls.VersionTLS13), is: "TLS 1.3"},
		"TLS 1.2":                            {server: version(tls.VersionTLS12), is: "TLS 1.2"},
		"P-256 only":                         {server: curves(tls.CurveP256), is: "TLS 1.3"},
		"P-384 only":                         {server: curves(tls.CurveP384), is: "TLS 1.3"},
		"P-521 only":                         {server: curves(tls.CurveP521), is: "TLS 1.3"},
		"X25519 only":                        {server: curves(tls.X25519), is: "TLS 1.3"},
		"X25519MLKEM768 only":                {server: curves(tls.X25519MLKEM768), is: "TLS 1.3"},
		"P-384 only, TLS 1.2":                {server: both(curves(tls.CurveP384), version(tls.VersionTLS12)), is: "TLS 1.2"},
		"P-521 only, small":                  {server: curves(tls.CurveP521), small: true, is: "TLS 1.3"},
		"RSA key exchange":                   {server: policytest.OnlyRSAKeyExchange, optional: outcome{"TLS 1.2", 2}},
		"RSA key exchange, TLS 1.0":          {server: both(policytest.OnlyRSAKeyExchange, version(tls.VersionTLS10)), optional: outcome{"TLS 1.0", 2}},
		"3DES":                               {server: policytest.Only3DES, optional: outcome{"TLS 1.2", 2}},
		"3DES with ECDHE":                    {server: both(policytest.OnlyRSAKeyExchange, suites(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA)), optional: outcome{"TLS 1.2", 2}},
		"CBC with SHA-256":                   {server: both(policytest.OnlyRSAKeyExchange, suites(tls.TLS_RSA_WITH_AES_128_CBC_SHA256)), optional: outcome{"TLS 1.2", 2}},
		"TLS 1.0":                            {server: version(tls.VersionTLS10), optional: outcome{"TLS 1.0", 1}},
		"TLS 1.1":                            {server: version(tls.VersionTLS11), optional: outcome{"TLS 1.1", 1}},
		"RC4, which is never offered":        {server: both(version(tls.VersionTLS12), suites(tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA)), optional: outcome{clear, 3}},
		"no common suite":                    {server: both(version(tls.VersionTLS12), suites(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)), optional: outcome{clear, 3}},
		"a large ClientHello dropped":        {server: policytest.DropLargeHello(1200), drops: 1200, optional: outcome{"TLS 1.3", 2}},
		"a large ClientHello dropped, small": {server: policytest.DropLargeHello(1200), small: true, is: "TLS 1.3"},
		"any ClientHello dropped":            {server: policytest.DropLargeHello(100), drops: 100, optional: outcome{clear, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			optional, mandatory := test.optional, outcome{failed, 1}
			if test.is != "" {
				optional, mandatory = outcome{test.is, 1}, outcome{test.is, 1}
			}
			inet := policytest.New(t)
			recorder := new(sessions)
			patience := func(c *policy.Config) {
				c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := inet.Dial(ctx, network, addr)
					if err != nil || test.drops == 0 || !strings.HasSuffix(addr, ":25") {
						return conn, err
					}
					return &impatient{Conn: conn, max: test.drops}, nil
				}
			}
			d := &delivery.Dialer{Resolver: resolver(t, inet, patience), Recorder: recorder, LocalName: "sender.example", SmallClientHello: test.small}
			for _, p := range []struct {
				domain, report string
				tlsa           []string
				mode           string
				want           outcome
			}{
				{domain: "bare.example", report: "no-policy-found", want: optional},
				{domain: "testing.example", report: "sts", mode: "testing", want: optional},
				{domain: "sts.example", report: "sts", mode: "enforce", want: mandatory},
				{domain: "dane.example", report: "tlsa", tlsa: []string{"3 1 1"}, want: mandatory},
				{domain: "ta.example", report: "tlsa", tlsa: []string{"2 0 1"}, want: mandatory},
				{domain: "unusable.example", report: "tlsa", tlsa: []string{"0 0 1 " + strings.Repeat("00", 32)}, want: mandatory},
			} {
				var unsigned []policytest.DomainOption
				if len(p.tlsa) == 0 {
					unsigned = append(unsigned, policytest.Unsigned)
				}
				domain := inet.Domain(p.domain, unsigned...).MX("mx." + p.domain)
				if p.mode != "" {
					domain.Policy(p.mode, "mx."+p.domain)
				}
				host := inet.Host("mx."+p.domain, test.server, policytest.TLSA(p.tlsa...))
				err := d.SendMail(t.Context(), "s@example.net", []string{"user@" + p.domain}, []byte(letter))
				got := outcome{failed, len(host.Sessions())}
				for _, message := range host.Messages() {
					got.session = clear
					if state := message.Session.TLS; state != nil {
						got.session = tls.VersionName(state.Version)
					}
				}
				if got != p.want {
					t.Errorf("%s: %v, want %v: %v", p.domain, got, p.want, err)
				}
				var failure *policy.Error
				if errors.As(err, &failure) != (p.want.session == failed) || failure != nil && failure.Permanent {
					t.Errorf("%s: error %v", p.domain, err)
				}
				if failure != nil && test.drops > 0 && !strings.Contains(err.Error(), "large packets") {
					t.Errorf("%s: error %v", p.domain, err)
				}
				// What enforce would have said of the session counts against a policy in testing
				// mode. Silence that nothing explains counts against none.
				want := p.report
				switch {
				case p.want.session == failed && test.drops > 0:
					want = ""
				case p.want != mandatory && (p.want.connections > 1 || p.mode != "") || p.want.session == failed:
					want += " validation-failure"
				}
				if report := strings.Join(recorder.take(), ", "); report != want {
					t.Errorf("%s: reported %q, want %q", p.domain, report, want)
				}
			}
		})
	}
}
