package delivery_test

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// TestC13ChangedPlanEndsSession: what changes between two messages ends the session that was kept
// where it matters, and costs no mail: keys, records, policies, pins, overrides and dates.
// The server speaks TLS with tickets, and no ticket changes the outcome.
func TestC13ChangedPlanEndsSession(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		tlsa, enforced bool
		change         func(*testing.T, *kept)
		sessions       int  // for two messages
		fails          bool // the second message, as it would with a new connection
	}{
		"DANE, nothing":    {tlsa: true, change: func(*testing.T, *kept) {}, sessions: 1},
		"MTA-STS, nothing": {enforced: true, change: func(*testing.T, *kept) {}, sessions: 1},
		"no policy":        {change: func(*testing.T, *kept) {}, sessions: 1},
		"the plan is made again": {tlsa: true, change: func(_ *testing.T, k *kept) {
			k.inet.Advance(2 * day)
		}, sessions: 1},
		"the key was rolled": {tlsa: true, change: func(_ *testing.T, k *kept) {
			k.host.Break(policytest.OtherKey)
			k.host.PublishTLSA("3 1 1 " + digestOf(k.host))
			k.inet.Advance(2 * day)
		}, sessions: 2},
		"records of the next key only": {tlsa: true, change: func(_ *testing.T, k *kept) {
			k.host.PublishTLSA("3 1 1 " + strings.Repeat("00", 32))
			k.inet.Advance(2 * day)
		}, sessions: 2, fails: true},
		"records of both keys": {tlsa: true, change: func(_ *testing.T, k *kept) {
			k.host.PublishTLSA("3 1 1 "+digestOf(k.host), "3 1 1 "+strings.Repeat("00", 32))
			k.inet.Advance(2 * day)
		}, sessions: 1},
		"DANE was published": {change: func(_ *testing.T, k *kept) {
			k.host.PublishTLSA("3 1 1 " + digestOf(k.host))
			k.inet.Advance(2 * day)
		}, sessions: 1},
		"a policy was published": {change: func(_ *testing.T, k *kept) {
			k.domain.Policy("enforce", "mx.provider.example")
			k.inet.Advance(2 * day)
		}, sessions: 1},
		"a policy with another host": {change: func(_ *testing.T, k *kept) {
			k.domain.Policy("enforce", "mx.other.example")
			k.inet.Advance(2 * day)
		}, sessions: 1, fails: true},
		"the certificate has ended, DANE-EE": {tlsa: true, change: func(_ *testing.T, k *kept) {
			k.inet.Advance(20 * day)
		}, sessions: 1},
		"the certificate has ended, and was renewed": {enforced: true, change: func(_ *testing.T, k *kept) {
			k.host.Break(policytest.Certificate(func(c *x509.Certificate) { c.NotAfter = k.inet.Now().Add(30 * day) }))
			k.inet.Advance(20 * day)
		}, sessions: 2},
		"the certificate has ended": {enforced: true, change: func(_ *testing.T, k *kept) {
			k.inet.Advance(20 * day)
		}, sessions: 2, fails: true},
		"a pin was added": {tlsa: true, change: func(t *testing.T, k *kept) {
			k.host.Break(policytest.OtherKey)
			pin, err := dane.ParseRecord("3 1 1 " + digestOf(k.host))
			if err != nil {
				t.Fatal(err)
			}
			k.resolve(t, func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"a.example": {Pin: []dane.Record{pin}}}
			})
		}, sessions: 2},
		"an override of the host": {change: func(t *testing.T, k *kept) {
			k.host.Break(policytest.OtherKey)
			pin, err := dane.ParseRecord("3 1 1 " + digestOf(k.host))
			if err != nil {
				t.Fatal(err)
			}
			k.resolve(t, func(c *policy.Config) {
				c.HostOverrides = map[string]policy.HostOverride{"mx.provider.example": {Pin: []dane.Record{pin}}}
			})
		}, sessions: 2},
		"a floor": {change: func(t *testing.T, k *kept) {
			k.resolve(t, func(c *policy.Config) { c.Floor = policy.Authenticated })
		}, sessions: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &kept{inet: policytest.New(t)}
			k.domain = k.inet.Domain("a.example", policytest.Unsigned).MX("mx.provider.example")
			k.inet.Domain("provider.example")
			options := []policytest.Option{policytest.Certificate(func(c *x509.Certificate) { c.NotAfter = k.inet.Now().Add(10 * day) })}
			if tt.tlsa {
				options = append(options, policytest.TLSA("3 1 1"))
			}
			if tt.enforced {
				k.domain.Policy("enforce", "mx.provider.example")
			}
			k.host = k.inet.Host("mx.provider.example", options...)
			k.dialer = &delivery.Dialer{LocalName: "sender.example"}
			k.resolve(t)
			pool := &delivery.Pool{Dialer: k.dialer, IdleTime: time.Hour}
			defer pool.Close(context.Background())
			send := func() error {
				return pool.SendMail(t.Context(), "me@sender.example", []string{"x@a.example"}, []byte("Subject: x\r\n\r\nx\r\n"))
			}
			if err := send(); err != nil {
				t.Fatal(err)
			}
			tt.change(t, k)
			if err := send(); (err != nil) != tt.fails {
				t.Errorf("the second message: %v", err)
			}
			want := 2
			if tt.fails {
				want = 1
			}
			if got := len(k.host.Messages()); got != want {
				t.Errorf("%d messages, want %d", got, want)
			}
			// A handshake with a ticket that fails by the new plan comes before the full one.
			if got := len(k.host.Sessions()); got < tt.sessions || got > tt.sessions+1 || tt.sessions == 1 && got != 1 {
				t.Errorf("%d sessions, want %d", got, tt.sessions)
			}
		})
	}
}

// kept is a Pool and the world around it.
type kept struct {
	inet   *policytest.Internet
	domain *policytest.Domain
	host   *policytest.Host
	dialer *delivery.Dialer
}

func (k *kept) resolve(t *testing.T, change ...func(*policy.Config)) {
	k.dialer.Resolver = resolver(t, k.inet, change...)
}

// digestOf is that of the key which a host has now.
func digestOf(host *policytest.Host) string {
	return strings.Fields(policytest.TLSARecord(host.Certificates()[0], "3 1 1"))[3]
}
