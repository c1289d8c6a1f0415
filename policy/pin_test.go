package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// record makes a TLSA record of the certificate that a host sends.
func record(t *testing.T, h *policytest.Host, usage dane.Usage) dane.Record {
	t.Helper()
	chain := h.Certificates()
	certificate := chain[0]
	if usage == dane.DANETA {
		certificate = chain[1]
	}
	r, err := dane.NewRecord(certificate, usage, dane.SPKI, dane.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The operator's pin is demanded of a next hop that is an address as well, and for
// mail whose header says that TLS is not required.
func TestPinIsDemandedOfAddressesToo(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("pinned.example", policytest.Unsigned).MX("mx.pinned.example")
	host := inet.Host("mx.pinned.example", policytest.Addrs("192.0.2.25"))
	inet.Domain("relayed.example", policytest.Unsigned)
	pin := []dane.Record{record(t, host, dane.DANEEE)}
	dialer := delivery.Dialer{Resolver: resolver(t, inet, func(c *policy.Config) {
		c.Overrides = map[string]policy.Override{
			"pinned.example":  {Pin: pin},
			"relayed.example": {Pin: pin, NextHop: "[192.0.2.25]"},
		}
	})}
	pin[0].Data[0] ^= 1 // the configuration is the Resolver's own
	for _, header := range []string{"Subject: x\n", "TLS-Required: No\nSubject: x\n"} {
		for _, domain := range []string{"pinned.example", "relayed.example"} {
			for _, fault := range []struct {
				name    string
				option  policytest.Option
				arrives bool
			}{
				{"as pinned", policytest.WrongName("x.example"), true},
				{"an impostor", policytest.Impostor, false},
				{"STARTTLS stripped", policytest.NoSTARTTLS, false},
			} {
				before := len(host.Messages())
				restore := host.Break(fault.option)
				err := dialer.SendMail(t.Context(), "me@sender.example", []string{"you@" + domain}, []byte(header+"\nx\n"))
				restore()
				arrived := len(host.Messages()) > before
				if arrived != fault.arrives || (err == nil) != arrived {
					t.Errorf("%s, %q, %s: arrived %v, %v", domain, header, fault.name, arrived, err)
				}
			}
		}
	}
}

// A pinned authority also issues certificates for the hosts of others. If the MX
// records can be forged, only a certificate for the domain itself is accepted.
func TestPinnedAuthorityDoesNotExcuseForgedMX(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example", policytest.Unsigned).MX("mx.recipient.example")
	host := inet.Host("mx.recipient.example")
	inet.Domain("evil.example").MX("mx.evil.example")
	inet.Host("mx.evil.example", policytest.TLSA("2 0 1")) // sends the authority's certificate
	inet.BreakDNS(policytest.Forge("recipient.example. 300 MX 1 mx.evil.example."), "recipient.example", dnssec.TypeMX)
	r := resolver(t, inet, func(c *policy.Config) {
		c.Overrides = map[string]policy.Override{"recipient.example": {Pin: []dane.Record{record(t, host, dane.DANETA)}}}
	})
	plan, err := r.Resolve(t.Context(), "recipient.example")
	if err != nil {
		t.Fatal(err)
	}
	h := plan.Hosts[0]
	if !slices.Equal(h.ReferenceNames, []string{"recipient.example"}) {
		t.Errorf("%v", h.ReferenceNames)
	}
	if _, err := handshake(t, h); err == nil {
		t.Error("the pinned authority authenticated the attacker's host")
	}
}

// STS-79: all messages in flight get the changed policy, whichever rechecks first,
// and keep their options. A recheck that fails reports no change.
func TestRecheckReachesAllMessages(t *testing.T) {
	t.Parallel()
	inet, domain, host := movingDomain(t)
	r := resolver(t, inet)
	var plans []*policy.Plan
	for _, options := range [][]policy.Option{nil, nil, {policy.RequireTLS()}} {
		plan, err := r.Resolve(t.Context(), "moved.example", options...)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, plan)
	}
	inet.Advance(25 * time.Hour)
	restore := inet.BreakDNS(policytest.ServFail, "_mta-sts.moved.example", dnssec.TypeTXT)
	if _, changed, err := r.Recheck(t.Context(), plans[0]); err == nil || changed {
		t.Errorf("the lookup failed: changed %v, error %v", changed, err)
	}
	restore()
	domain.MX("new.moved.example")
	host.Publish("version: STSv1\nmode: enforce\nmx: new.moved.example\nmax_age: 86400\n")
	inet.Advance(time.Hour)
	for i, plan := range plans {
		fresh, changed, err := r.Recheck(t.Context(), plan)
		if err != nil || !changed || !fresh.Allows("new.moved.example") || fresh.RequireTLS != plan.RequireTLS {
			t.Errorf("plan %d: %+v, %v, %v", i, fresh, changed, err)
		}
	}
}

// A null MX that can be forged does not bounce mail that a remembered policy
// protects.
func TestForgedNullMXWaits(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	r := resolver(t, inet)
	if _, err := r.Resolve(t.Context(), "sts.example"); err != nil {
		t.Fatal(err)
	}
	inet.Advance(25 * time.Hour)
	defer inet.BreakDNS(policytest.Forge("sts.example. 300 MX 0 ."), "sts.example", dnssec.TypeMX)()
	_, err := r.Resolve(t.Context(), "sts.example")
	failure, ok := err.(*policy.Error)
	if !ok || failure.Permanent || !strings.HasPrefix(failure.Status, "4.") {
		t.Errorf("%v", err)
	}
}
