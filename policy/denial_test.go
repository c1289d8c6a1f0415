package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/hop"
)

// S11: a domain in which no host has an address is a permanent failure if no lookup
// failed and nothing else is known of a host (RFC 5321 section 5.1).
func TestS11NoAddressIsPermanent(t *testing.T) {
	t.Parallel()
	const insecure, secure = dnssec.Insecure, dnssec.Secure
	deny := func(f *fakeDNS, status dnssec.Status, host string) {
		f.deny(status, host, dnssec.TypeA, false)
		f.deny(status, host, dnssec.TypeAAAA, false)
	}
	for _, test := range []struct {
		name      string
		given     func(*fakeDNS)
		permanent bool
	}{
		{"no MX, no address", func(f *fakeDNS) {
			f.deny(insecure, "example.org", dnssec.TypeMX, false)
			deny(f, insecure, "example.org")
		}, true},
		{"no MX, no address, securely", func(f *fakeDNS) {
			f.deny(secure, "example.org", dnssec.TypeMX, false)
			deny(f, secure, "example.org")
		}, true},
		{"exchanges without address", func(f *fakeDNS) {
			f.add(t, insecure, "example.org. MX 1 a.example.org.", "example.org. MX 2 b.example.org.")
			deny(f, insecure, "a.example.org")
		}, true},
		{"exchanges that are no names", func(f *fakeDNS) {
			f.add(t, secure, "example.org. MX 1 192.0.2.7.", `example.org. MX 2 bad\010name.example.org.`)
		}, true},
		{"a dot besides", func(f *fakeDNS) {
			f.add(t, insecure, "example.org. MX 1 .", "example.org. MX 2 a.example.org.")
		}, true},
		{"A failed", func(f *fakeDNS) {
			f.deny(insecure, "example.org", dnssec.TypeMX, false)
			f.fail("example.org", dnssec.TypeA)
		}, false},
		{"AAAA failed", func(f *fakeDNS) {
			f.deny(insecure, "example.org", dnssec.TypeMX, false)
			f.fail("example.org", dnssec.TypeAAAA)
		}, false},
		{"one exchange failed", func(f *fakeDNS) {
			f.add(t, insecure, "example.org. MX 1 a.example.org.", "example.org. MX 2 b.example.org.")
			f.fail("b.example.org", dnssec.TypeAAAA)
		}, false},
		{"one exchange is not dialed", func(f *fakeDNS) {
			f.add(t, insecure, "example.org. MX 1 a.example.org.", "example.org. MX 2 b.example.org.")
			f.add(t, insecure, "b.example.org. A 127.0.0.1")
		}, false},
		{"the sender is a worse exchange", func(f *fakeDNS) {
			f.add(t, insecure, "example.org. MX 1 a.example.org.", "example.org. MX 2 me.example.")
		}, false},
		{"more exchanges than are looked up", func(f *fakeDNS) {
			var records []string
			for i := range hop.MaxHosts + 1 {
				records = append(records, "example.org. MX 1 mx"+strings.Repeat("x", i)+".example.org.")
			}
			f.add(t, insecure, records...)
		}, false},
	} {
		for _, options := range [][]Option{nil, {TLSOptional()}, {RequireTLS()}} {
			f := newFakeDNS()
			test.given(f)
			plan, err := f.newResolver(t, Config{Self: []string{"me.example"}}).Resolve(t.Context(), "example.org", options...)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			var failures []*Error
			for _, host := range plan.Hosts {
				if host.Level != Refused || host.Refusal == nil || host.Why == "" {
					t.Fatalf("%s: %+v", test.name, host)
				}
				failures = append(failures, host.Refusal)
				if session, _ := host.Attempted(NotConnected, nil, nil); len(session.Outcomes) != 0 && test.permanent {
					t.Errorf("%s: it would be reported: %+v", test.name, session)
				}
			}
			var first *Error
			if !errors.As(plan.Err(), &first) {
				t.Fatalf("%s: %v", test.name, plan.Err())
			}
			for _, failure := range []*Error{first, plan.Failed(failures...)} {
				if failure.Permanent != test.permanent || test.permanent && (failure.Status != "5.4.4" || failure.Code() != 550 || !errors.Is(failure, ErrUnreachable)) {
					t.Errorf("%s: %v", test.name, failure)
				}
			}
		}
	}
}

// S11: the denial is judged by its weakest part. While something protects the
// domain, what may be forged does not bounce its mail.
func TestS11ForgedDenialBouncesNothingProtected(t *testing.T) {
	t.Parallel()
	const insecure, secure = dnssec.Insecure, dnssec.Secure
	pinned := dane.Record{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: make([]byte, 32)}
	for _, test := range []struct {
		name        string
		config      Config
		by          Mechanism // 0: permanent even if the answer is not secure
		unprotected bool      // TLSOptional makes it permanent
	}{
		{"nothing", Config{}, 0, true},
		{"testing", Config{Store: oneEntry{mode: mtasts.Testing}}, 0, true},
		{"enforce", Config{Store: oneEntry{mode: mtasts.Enforce}}, ByMTASTS, true},
		{"enforce, switched off", Config{Store: oneEntry{mode: mtasts.Enforce}, NoMTASTS: true}, 0, true},
		{"store cannot be read", Config{Store: oneEntry{err: errBroken}}, ByMTASTS, true},
		{"DANE required", Config{RequireDANE: true}, ByOperator | ByDANE, false},
		{"route required", Config{RequireRoute: true}, 0, true},
		{"records pinned", Config{Overrides: map[string]Override{"example.org": {Pin: []dane.Record{pinned}}}}, ByOperator | ByDANE, false},
	} {
		for _, chain := range [][3]dnssec.Status{ // MX, A, AAAA
			{secure, secure, secure}, {insecure, secure, secure}, {secure, insecure, secure}, {secure, secure, insecure}, {insecure, insecure, insecure},
		} {
			for _, implicit := range []bool{true, false} {
				f := newFakeDNS()
				host := "example.org"
				f.deny(chain[0], "example.org", dnssec.TypeMX, false)
				if !implicit {
					host = "mx.example.org"
					f.add(t, chain[0], "example.org. MX 1 mx.example.org.")
				}
				f.deny(chain[1], host, dnssec.TypeA, false)
				f.deny(chain[2], host, dnssec.TypeAAAA, false)
				r := f.newResolver(t, test.config)
				for _, options := range [][]Option{nil, {TLSOptional()}} {
					plan, err := r.Resolve(t.Context(), "example.org", options...)
					if err != nil {
						t.Fatal(err)
					}
					failure := plan.Hosts[0].Refusal
					permanent := chain == [3]dnssec.Status{secure, secure, secure} || test.by == 0 || options != nil && test.unprotected
					if failure.Permanent != permanent || !errors.Is(failure, ErrUnreachable) ||
						permanent && failure.Status != "5.4.4" || !permanent && (failure.Status != "4.4.4" || failure.By != test.by) {
						t.Errorf("%s, %v, implicit %v: %v by %v", test.name, chain, implicit, failure, failure.By)
					}
				}
			}
		}
	}
}

// S12: the operator's next hop is not the recipient's fault: the mail waits, also
// if the answer is secure, and the text names the next hop.
func TestS12MissingNextHopMakesMailWait(t *testing.T) {
	t.Parallel()
	for _, status := range []dnssec.Status{dnssec.Secure, dnssec.Insecure} {
		for _, test := range []struct {
			hop  string
			want error
		}{
			{"gone.example", ErrNoDomain},
			{"gone.example:587", ErrNoDomain},
			{"null.example", ErrNullMX},
			{"Null.Example.", ErrNullMX},
			{"null10.example", ErrNullMX},
			{"nulls.example", ErrNullMX},
			{"loop.example", ErrLoop},
			{"empty.example", ErrUnreachable},
			{"dead-mx.example", ErrUnreachable},
			{"[gone.example]", ErrUnreachable},
			{"[empty.example]:25", ErrUnreachable},
		} {
			f := newFakeDNS()
			name := strings.Trim(strings.Split(test.hop, ":")[0], "[]")
			f.add(t, status, "null.example. MX 0 .")
			f.add(t, status, "null10.example. MX 10 .")
			f.add(t, status, "nulls.example. MX 0 .", "nulls.example. MX 10 .")
			f.add(t, status, "loop.example. MX 1 me.example.")
			f.add(t, status, "dead-mx.example. MX 1 gone.example.")
			f.deny(status, "empty.example", dnssec.TypeMX, false)
			for _, host := range []string{"empty.example", "gone.example"} {
				for _, qtype := range []dnssec.Type{dnssec.TypeA, dnssec.TypeAAAA} {
					f.deny(status, host, qtype, host == "gone.example")
				}
			}
			f.deny(status, "gone.example", dnssec.TypeMX, true)
			r := f.newResolver(t, Config{Self: []string{"me.example"}, Overrides: map[string]Override{"example.org": {NextHop: test.hop}}})
			via := f.newResolver(t, Config{Self: []string{"me.example"}})
			for i, options := range [][]Option{nil, {TLSOptional()}, {RequireTLS()}, {Via(test.hop)}, {Via(test.hop), RequireTLS()}} {
				if i == 3 {
					r = via
				}
				plan, err := r.Resolve(t.Context(), "example.org", options...)
				if err == nil {
					err = plan.Err()
				}
				var failure *Error
				if !errors.As(err, &failure) || !errors.Is(err, test.want) {
					t.Fatalf("%s: %v, want %v", test.hop, err, test.want)
				}
				if failure.Permanent || failure.Status != "4.3.5" || failure.Code() != 451 || !strings.Contains(failure.Error(), "next hop "+strings.ToLower(strings.TrimSuffix(name, "."))) {
					t.Errorf("%s: %v", test.hop, failure)
				}
			}
		}
	}
}

// An enforced policy that another relay has stored delays a bounce for which only an
// insecure denial speaks, although this relay remembers that there was none.
func TestStoredPolicyDelaysBounce(t *testing.T) {
	t.Parallel()
	const domain = "example.org"
	dns, store := newFakeDNS(), &oneDomain{err: mtasts.ErrNotStored}
	dns.deny(dnssec.Insecure, domain, dnssec.TypeMX, true)
	dns.deny(dnssec.Insecure, "_mta-sts."+domain, dnssec.TypeTXT, true)
	r := dns.newResolver(t, Config{Store: store})
	if _, err := r.Resolve(t.Context(), domain); !isPermanent(err) {
		t.Fatalf("without a policy: %v", err)
	}
	store.err, store.entry = nil, mtasts.Entry{
		Domain: domain, ID: "1", Fetched: time.Now(), NextCheck: time.Now().Add(time.Hour), Used: true,
		Text: "version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 604800\n",
	}
	if _, err := r.Resolve(t.Context(), domain); err == nil || isPermanent(err) {
		t.Errorf("with one in the store: %v", err)
	}
	store.entry.Text = strings.Replace(store.entry.Text, "enforce", "testing", 1)
	if _, err := r.Resolve(t.Context(), domain); !isPermanent(err) {
		t.Errorf("in testing mode: %v", err)
	}
}

func isPermanent(err error) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.Permanent
}
