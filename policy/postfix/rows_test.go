package postfix_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

const (
	one, two = "mx1.example.org", "mx2.example.org"
	daneOnly = "dane-only protocols=>=TLSv1.2"
	encrypt  = "encrypt protocols=>=TLSv1.2"
	notFound = "NOTFOUND"
	temp     = "TEMP"
)

// secure is the policy that demands a certificate for one of the names.
func secure(names ...string) string {
	return "secure match=" + strings.Join(names, ":") + " servername=hostname protocols=>=TLSv1.2"
}

// fingerprint is the policy that demands one of the digests.
func fingerprint(octets ...byte) string {
	var digests []string
	for _, octet := range octets {
		digests = append(digests, pin(octet))
	}
	return "fingerprint match=" + strings.Join(digests, "|") + " servername=hostname protocols=>=TLSv1.2"
}

// enforced are the attributes for TLSRPT of a policy in force.
func enforced(w world, patterns ...string) string {
	text := " policy_type=sts policy_domain=" + domain
	for _, pattern := range patterns {
		text += " mx_host_pattern=" + pattern
	}
	for _, line := range mtasts.Lines(w.text()) {
		text += " { policy_string = " + line + " }"
	}
	return text
}

type row struct {
	name    string
	world   world
	config  policy.Config
	options postfix.Options
	want    string
	rpt     string // what PostfixTLSRPT gets, if it is more
	weaker  bool
	losses  []postfix.Reason
}

// rows are the plans that exist, and the answers to them. A name begins with the number that the
// table of plans has.
func rows(t testing.TB) []row {
	usable := []string{key("3 1 1", 1)}
	other := []string{key("3 1 1", 2)}
	anchor := []string{key("2 1 1", 3)}
	unusable := []string{key("0 0 1", 4)}
	pinned := func(data ...string) policy.Config {
		return policy.Config{Overrides: map[string]policy.Override{domain: {Pin: records(t, data...)}}}
	}
	enforce := func(hosts ...mx) world {
		return world{insecureMX: true, hosts: hosts, mode: mtasts.Enforce, listed: []string{"*.example.org"}}
	}
	mixed := world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}, mode: mtasts.Enforce, listed: []string{"*.example.org"}}
	stsFirst := world{hosts: []mx{{name: one}, {name: two, tlsa: usable}}, mode: mtasts.Enforce, listed: []string{"*.example.org"}}
	failing := enforce(mx{name: one, tlsaFails: true}, mx{name: two})
	unlisted := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}, {name: "mx.example.net", insecure: true}}, mode: mtasts.Enforce, listed: []string{one}}
	testing := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Testing, listed: []string{one}}
	listed := enforce(mx{name: one, insecure: true}, mx{name: two, insecure: true})
	unusableEnforced := enforce(mx{name: one, tlsa: unusable})
	both := enforce(mx{name: one, tlsa: usable})
	long := listed
	long.extra = strings.Repeat("x: y\n", 12_000)
	patterns := listed
	patterns.listed = append([]string{"*.example.org"}, slices.Repeat([]string{"a.example"}, 4_000)...)
	braces := listed
	braces.extra = "note: } policy_failure=validation-failure {\nother: text\n"
	// The plan has 32 hosts. The client finds the last one, too.
	many := world{}
	for i := range 32 {
		many.hosts = append(many.hosts, mx{name: fmt.Sprintf("mx%d.example.org", i)})
	}
	many.hosts = append(many.hosts, mx{name: "last.example.org", tlsa: usable})
	manyInsecure := world{insecureMX: true}
	for _, h := range many.hosts[:32] {
		manyInsecure.hosts = append(manyInsecure.hosts, mx{name: h.name, tlsa: usable})
	}
	manyInsecure.hosts = append(manyInsecure.hosts, mx{name: "last.example.org"})
	return []row{
		{name: "1 every host DANE", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two, tlsa: other}}}, want: daneOnly},
		{name: "1 DANE decides although a policy is enforced", world: world{hosts: []mx{{name: one, tlsa: usable}}, mode: mtasts.Enforce, listed: []string{two}}, want: daneOnly},
		{name: "2 DANE and no policy", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}}, want: "dane"},
		{name: "3 insecure MX with TLSA", world: world{insecureMX: true, hosts: []mx{{name: one, tlsa: usable}}}, want: "dane"},
		{name: "4 unusable TLSA", world: world{hosts: []mx{{name: one, tlsa: unusable}}}, want: "dane"},
		{name: "5 unusable TLSA, enforced", world: unusableEnforced, want: secure(one), rpt: enforced(unusableEnforced, "*.example.org")},
		{name: "6 enforced", world: listed, want: secure(one, two), rpt: enforced(listed, "*.example.org")},
		{name: "6 lines that would inject attributes are dropped", world: braces, want: secure(one, two),
			rpt: strings.Replace(enforced(braces, "*.example.org"), " { policy_string = note: } policy_failure=validation-failure { }", "", 1)},
		{name: "6 a policy whose text is too long", world: long, want: secure(one, two), rpt: " policy_type=sts policy_domain=example.org mx_host_pattern=*.example.org"},
		{name: "6 a policy with too many patterns", world: patterns, want: secure(one, two)},
		{name: "7 DANE before MTA-STS", world: mixed, want: daneOnly, losses: []postfix.Reason{postfix.Mixed}},
		{name: "7 MTA-STS before DANE", world: stsFirst, want: secure(one), rpt: enforced(stsFirst, one), losses: []postfix.Reason{postfix.Mixed}},
		{name: "8 insecure MX, TLSA and enforced", world: both, want: secure(one), rpt: enforced(both, "*.example.org"), weaker: true, losses: []postfix.Reason{postfix.InsecureMX}},
		{name: "8 the same, deferred", world: both, options: postfix.Options{DeferInsecureMX: true}, want: temp, losses: []postfix.Reason{postfix.InsecureMX}},
		{name: "8 secure MX, and both required", world: world{hosts: both.hosts, mode: both.mode, listed: both.listed}, config: policy.Config{Precedence: policy.RequireBoth}, want: temp, losses: []postfix.Reason{postfix.Both}},
		{name: "9 a failed lookup beside DANE", world: world{hosts: []mx{{name: one, tlsaFails: true}, {name: two, tlsa: usable}}}, want: daneOnly},
		{name: "9 a failed lookup beside no policy", world: world{hosts: []mx{{name: one, tlsaFails: true}, {name: two}}}, want: "dane"},
		{name: "10 a failed lookup beside MTA-STS", world: failing, want: secure(two), rpt: enforced(failing, two), losses: []postfix.Reason{postfix.LookupFailed}},
		{name: "11 a failed address beside DANE", world: world{hosts: []mx{{name: one, addrFails: true}, {name: two, tlsa: usable}}}, want: daneOnly},
		{name: "12 a stale digest beside a stronger one", world: world{hosts: []mx{{name: one, tlsa: []string{usable[0], "3 1 2 " + strings.Repeat("05", 64)}}}}, want: daneOnly},
		{name: "13 a host that is not listed", world: unlisted, want: secure(one), rpt: enforced(unlisted, one)},
		{name: "14 testing", world: testing, want: notFound},
		{name: "14 testing, with reports", world: testing, options: postfix.Options{Client: postfix.PostfixTLSRPT, TestingReports: true}, want: "dane" + enforced(testing, one)},
		{name: "14 testing, with reports, DANE by host", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}, mode: mtasts.Testing, listed: []string{one}}, options: postfix.Options{TestingReports: true}, want: "dane"},
		{name: "15 no policy", world: world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}}, want: notFound},
		{name: "15 mode none", world: world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.None}, want: notFound},
		{name: "16 no policy at first contact", world: world{hosts: []mx{{name: one}}}, want: notFound},
		{name: "17 every host refused", world: world{hosts: []mx{{name: one, tlsaFails: true}}}, want: temp},
		{name: "17 no host listed", world: world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Enforce, listed: []string{two}}, want: temp},
		{name: "17 policy unknown", world: world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, unreadable: true}, want: temp},
		{name: "17 policy unknown beside DANE", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}, unreadable: true}, want: daneOnly},
		{name: "18 no host has an address", world: world{hosts: []mx{{name: one, noAddr: true}}}, want: notFound},
		{name: "18 the same, with an enforced policy and no proof", world: enforce(mx{name: one, insecure: true, noAddr: true}), want: temp},
		{name: "19 floor Encrypted", world: world{hosts: []mx{{name: one}}}, config: policy.Config{Floor: policy.Encrypted}, want: encrypt},
		{name: "19 floor Encrypted beside a failed lookup", world: world{hosts: []mx{{name: one}, {name: two, tlsaFails: true}}}, config: policy.Config{Floor: policy.Encrypted}, want: temp, losses: []postfix.Reason{postfix.LookupFailed, postfix.Floor}},
		{name: "20 floor Encrypted and DANE", world: world{hosts: []mx{{name: one}, {name: two, tlsa: usable}}}, config: policy.Config{Floor: policy.Encrypted}, want: daneOnly, losses: []postfix.Reason{postfix.Floor}},
		{name: "20 floor Encrypted and DANE at an insecure MX", world: world{insecureMX: true, hosts: []mx{{name: one, tlsa: usable}, {name: two, tlsa: other}}}, config: policy.Config{Floor: policy.Encrypted}, want: "dane"},
		{name: "20 the same, with a host without TLSA", world: world{insecureMX: true, hosts: []mx{{name: one}, {name: two, tlsa: usable}}}, config: policy.Config{Floor: policy.Encrypted}, want: temp, losses: []postfix.Reason{postfix.Mixed, postfix.Floor}},
		{name: "21 floor Authenticated, no policy", world: world{hosts: []mx{{name: one}, {name: two}}}, config: policy.Config{Floor: policy.Authenticated}, want: secure(one, two)},
		{name: "21 an authenticated route", world: world{insecureMX: true, hosts: []mx{{name: one}, {name: two}}}, config: policy.Config{RequireRoute: true}, want: secure(domain)},
		{name: "21 an authenticated route, and TLSA", world: world{insecureMX: true, hosts: []mx{{name: one, tlsa: usable}}}, config: policy.Config{RequireRoute: true}, want: temp, losses: []postfix.Reason{postfix.Both}},
		{name: "22 pinned key", world: world{hosts: []mx{{name: one}, {name: two}}}, config: pinned(key("3 1 1", 7), key("3 0 1", 6)), want: fingerprint(6, 7)},
		{name: "22 a pin of one host", world: world{hosts: []mx{{name: one}, {name: two}}}, config: policy.Config{HostOverrides: map[string]policy.HostOverride{one: {Pin: records(t, key("3 1 1", 7))}}}, want: fingerprint(7), losses: []postfix.Reason{postfix.Mixed}},
		{name: "22 pins of two hosts", world: world{hosts: []mx{{name: one}, {name: two}}}, config: policy.Config{HostOverrides: map[string]policy.HostOverride{
			one: {Pin: records(t, key("3 1 1", 7))}, two: {Pin: records(t, key("3 1 1", 8))}}}, want: fingerprint(7), losses: []postfix.Reason{postfix.Pin}},
		{name: "22 a pin of one host that has other TLSA records", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two, tlsa: other}}}, config: policy.Config{HostOverrides: map[string]policy.HostOverride{two: {Pin: records(t, key("2 1 1", 7))}}}, want: temp, losses: []postfix.Reason{postfix.Mixed, postfix.Pin}},
		{name: "23 pinned authority", world: world{hosts: []mx{{name: one}}}, config: pinned(key("2 1 1", 7)), want: temp, losses: []postfix.Reason{postfix.Pin}},
		{name: "23 pinned SHA2-512", world: world{hosts: []mx{{name: one}}}, config: pinned("3 1 2 " + strings.Repeat("05", 64)), want: temp, losses: []postfix.Reason{postfix.Pin}},
		{name: "23 more pins than fit", world: world{hosts: []mx{{name: one}}}, config: pinned(manyKeys(1_100)...), want: temp},
		{name: "24 DANE required", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}}, config: policy.Config{RequireDANE: true}, want: daneOnly},
		{name: "24 DANE required and missing", world: world{hosts: []mx{{name: one}}}, config: policy.Config{RequireDANE: true}, want: temp},
		{name: "25 another next hop", world: world{hosts: []mx{{name: one}}}, config: policy.Config{Overrides: map[string]policy.Override{domain: {NextHop: "[" + one + "]"}}}, want: temp},
		{name: "27 the next hop that the client connects to", world: world{hosts: []mx{{name: one, tlsa: usable}}}, config: policy.Config{Overrides: map[string]policy.Override{domain: {NextHop: "[" + one + "]"}}}, options: postfix.Options{Via: "[" + one + "]:25"}, want: daneOnly},
		{name: "28 more hosts than the plan has", world: many, want: "dane"},
		{name: "28 more hosts than the plan has, with a floor", world: many, config: policy.Config{Floor: policy.Encrypted}, want: temp, losses: []postfix.Reason{postfix.Floor}},
		{name: "28 more hosts than the plan has, with a floor below DANE at an insecure MX", world: manyInsecure, config: policy.Config{Floor: policy.Encrypted}, want: temp, losses: []postfix.Reason{postfix.Mixed}},
		{name: "28 more hosts than the plan has, without a resolver", world: many, options: postfix.Options{Fingerprints: true}, want: temp},
		{name: "28 more hosts than the plan has, sendmail", world: many, options: postfix.Options{Client: postfix.Sendmail}, want: "dane"},
		{name: "fingerprints of every host", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two, tlsa: other}}}, options: postfix.Options{Fingerprints: true}, want: fingerprint(1, 2)},
		{name: "fingerprints at an insecure MX", world: world{insecureMX: true, hosts: []mx{{name: one, tlsa: usable}}}, options: postfix.Options{Fingerprints: true}, want: fingerprint(1)},
		{name: "fingerprints beside no policy", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}}, options: postfix.Options{Fingerprints: true}, want: fingerprint(1), losses: []postfix.Reason{postfix.Mixed}},
		{name: "fingerprints beside a trust anchor", world: world{hosts: []mx{{name: one, tlsa: usable}, {name: two, tlsa: anchor}}}, options: postfix.Options{Fingerprints: true}, want: fingerprint(1), losses: []postfix.Reason{postfix.NoResolver}},
		{name: "fingerprints, a trust anchor alone", world: world{hosts: []mx{{name: one, tlsa: anchor}}}, options: postfix.Options{Fingerprints: true}, want: temp, losses: []postfix.Reason{postfix.NoResolver}},
		{name: "fingerprints, unusable TLSA", world: world{hosts: []mx{{name: one, tlsa: unusable}}}, options: postfix.Options{Fingerprints: true}, want: encrypt},
		{name: "fingerprints, a failed lookup beside no policy", world: world{hosts: []mx{{name: one, tlsaFails: true}, {name: two}}}, options: postfix.Options{Fingerprints: true}, want: temp, losses: []postfix.Reason{postfix.LookupFailed}},
		{name: "sendmail, enforced", world: listed, options: postfix.Options{Client: postfix.Sendmail}, want: "secure match=" + one + ":" + two + " servername=hostname"},
		{name: "sendmail, DANE", world: world{hosts: []mx{{name: one, tlsa: usable}}}, options: postfix.Options{Client: postfix.Sendmail}, want: "dane"},
		{name: "sendmail, floor Encrypted", world: world{hosts: []mx{{name: one}}}, config: policy.Config{Floor: policy.Encrypted}, options: postfix.Options{Client: postfix.Sendmail}, want: temp, losses: []postfix.Reason{postfix.Floor}},
		{name: "sendmail, pinned key", world: world{hosts: []mx{{name: one}}}, config: pinned(key("3 1 1", 7)), options: postfix.Options{Client: postfix.Sendmail}, want: temp, losses: []postfix.Reason{postfix.Pin}},
	}
}

func manyKeys(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("3 1 1 %064x", i))
	}
	return all
}

func records(t testing.TB, data ...string) (all []dane.Record) {
	t.Helper()
	for _, text := range data {
		var record dane.Record
		if err := record.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		all = append(all, record)
	}
	return all
}

func TestPolicyOfEachRow(t *testing.T) {
	for _, r := range rows(t) {
		t.Run(r.name, func(t *testing.T) {
			plan, err := r.world.resolve(t, r.config)
			check := func(o postfix.Options, want string) {
				t.Helper()
				got := postfix.Policy(plan, err, o)
				if text := written(got); text != want {
					t.Errorf("%d: got  %s\nwant %s\nbecause %s", o.Client, text, want, got.Text)
				}
				if (got.Text == "") != (got.Status == postfix.NotFound) {
					t.Errorf("%d: status %d with the text %q", o.Client, got.Status, got.Text)
				}
				var reasons []postfix.Reason
				for _, loss := range got.Inexact {
					reasons = append(reasons, loss.Reason)
					if len(loss.Hosts) == 0 || strings.Contains(loss.String(), "%!") {
						t.Errorf("%v: %s", loss.Hosts, loss)
					}
				}
				if want == temp && len(got.Inexact) > 0 && !got.Weaker && !strings.Contains(got.Text, got.Inexact[0].String()[:20]) {
					t.Errorf("%d: the reason is %q, and the first loss %q", o.Client, got.Text, got.Inexact[0])
				}
				if !slices.Equal(reasons, r.losses) || got.Weaker != r.weaker {
					t.Errorf("%d: weaker %t, losses %q, want %t, %q", o.Client, got.Weaker, reasons, r.weaker, r.losses)
				}
			}
			check(r.options, r.want)
			if r.options.Client == postfix.Postfix {
				r.options.Client = postfix.PostfixTLSRPT
				if r.options.TestingReports {
					r.rpt = enforced(r.world, r.world.listed...)
				}
				check(r.options, r.want+r.rpt)
			}
		})
	}
}

// Mail that requires TLS on its whole way returns to its sender if the route is not authenticated. Postfix,
// which asks for the domain, must not send it as its main.cf says.
func TestRequireTLSIsNeverWithoutPolicy(t *testing.T) {
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}}
	plan, err := w.resolve(t, policy.Config{}, policy.RequireTLS())
	if err != nil || !plan.Hosts[0].Refusal.Permanent {
		t.Fatal(err, plan)
	}
	if got := postfix.Policy(plan, nil, postfix.Options{}); got.Status != postfix.Temporary {
		t.Errorf("%+v", got)
	}
}

// written returns the word of the answer, and the policy if there is one.
func written(r postfix.Reply) string {
	switch r.Status {
	case postfix.Found:
		return r.Text
	case postfix.NotFound:
		return notFound
	default:
		return temp
	}
}

// Nothing is known of these, so the mail waits, except where the domain itself says that there
// is nothing to send to.
func TestWithoutPlanMailWaits(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"neither plan nor error", nil, temp},
		{"temporary", &policy.Error{Domain: domain, Status: "4.4.3", Err: fakedns.ErrServFail}, temp},
		{"permanent", &policy.Error{Domain: domain, Status: "5.1.10", Permanent: true, Err: policy.ErrNullMX, Floor: policy.Opportunistic}, notFound},
		{"permanent, with a floor", &policy.Error{Permanent: true, Floor: policy.Encrypted}, "encrypt protocols=>=TLSv1.2"},
		{"permanent, with a floor that needs a host", &policy.Error{Permanent: true, Floor: policy.Authenticated, Detail: "why"}, temp},
		{"permanent, and the floor is not known", &policy.Error{Permanent: true, Detail: "why"}, temp},
		{"wrapped", fmt.Errorf("wrapped: %w", &policy.Error{Permanent: true, Floor: policy.Opportunistic}), notFound},
		{"another error", errors.New("another\r\nOK none"), temp},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := postfix.Policy(nil, test.err, postfix.Options{})
			if written(got) != test.want || strings.ContainsAny(got.Text, "\r\n") || (got.Text == "") != (test.want == notFound) {
				t.Errorf("%s %q, want %s", written(got), got.Text, test.want)
			}
		})
	}
	// A Host that no Resolver has made is refused without a reason.
	for name, plan := range map[string]*policy.Plan{
		"a zero Host": {Domain: domain, Hosts: []*policy.Host{{Name: one}}},
		"no Host":     {Domain: domain},
		"a Host of which it is not known what the operator demands": {Domain: domain, Hosts: []*policy.Host{{Name: one, Refusal: &policy.Error{Permanent: true}}}},
		"a Host that is refused for now, and by no policy":          {Domain: domain, Hosts: []*policy.Host{{Name: one, Floor: policy.Opportunistic, Refusal: new(policy.Error)}}},
		// Both are permanent, and one is by a policy: main.cf must not decide.
		"a Host that is refused by a policy, and another": {Domain: domain, Hosts: []*policy.Host{
			{Name: one, Floor: policy.Opportunistic, Refusal: &policy.Error{Permanent: true, By: policy.ByOperator}},
			{Name: two, Floor: policy.Opportunistic, Refusal: &policy.Error{Permanent: true}},
		}},
	} {
		if got := postfix.Policy(plan, nil, postfix.Options{}); written(got) != temp || got.Text == "" {
			t.Errorf("a plan with %s: %s %q", name, written(got), got.Text)
		}
	}
	if got := (postfix.Reply{}); got.Level() != "temp" {
		t.Errorf("the zero Reply is %s", got.Level())
	}
}

// Where a host needs a certificate for its own name and one for the next hop, no policy can
// demand both, and one that demands only one of them is not given.
func TestTwoNamesAreNotOne(t *testing.T) {
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Testing, listed: []string{one}}
	plan, err := w.resolve(t, policy.Config{RequireRoute: true}, policy.RequireTLS())
	if err != nil || !slices.Equal(plan.Hosts[0].WebPKINames(), []string{one, domain}) {
		t.Fatal(err, plan)
	}
	if got := postfix.Policy(plan, nil, postfix.Options{}); got.Status != postfix.Temporary {
		t.Errorf("%+v", got)
	}
}

// With RequireTLS, a policy in testing mode names the hosts. Postfix gets no attributes for its
// reports then: they would say that the policy is enforced.
func TestTestingUnderRequireTLSIsNotReported(t *testing.T) {
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Testing, listed: []string{one}}
	plan, err := w.resolve(t, policy.Config{}, policy.RequireTLS())
	if err != nil {
		t.Fatal(err)
	}
	if got := written(postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT})); got != secure(one) {
		t.Error(got)
	}
}

// A line of a policy is sent if all of its characters can be.
func TestLastPrintableCharacter(t *testing.T) {
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Enforce, listed: []string{one}, extra: "note: ~\n"}
	plan, err := w.resolve(t, policy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := written(postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT})); got != secure(one)+enforced(w, one) {
		t.Error(got)
	}
}

// With "dane", Postfix looks for TLSA records itself, which means nothing without a
// resolver that validates.
func TestTestingIsNotReportedWithoutResolver(t *testing.T) {
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Testing, listed: []string{one}}
	plan, err := w.resolve(t, policy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for blind, want := range map[bool]string{true: notFound, false: "dane" + enforced(w, one)} {
		if got := written(postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT, TestingReports: true, Fingerprints: blind})); got != want {
			t.Errorf("Fingerprints %v: %s", blind, got)
		}
	}
}

// An answer has at most 99,000 octets. The text of the policy is left out if it does not
// fit, and then its patterns; what decides stays.
func TestAnswerFillsItsBound(t *testing.T) {
	const bound = 99_000
	listed := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}, {name: two, insecure: true}}, mode: mtasts.Enforce, listed: []string{"*.example.org"}}
	decides := secure(one, two)
	patterns := func(w world) string { return strings.SplitN(enforced(w, w.listed...), " { ", 2)[0] }
	// The last line fills what the others leave.
	filled := func(size int) world {
		w := listed
		w.extra = strings.Repeat("x: y\n", 3_700) + "z: z"
		w.extra += strings.Repeat("z", size-len(decides+enforced(w, w.listed...))) + "\n"
		return w
	}
	// The last patterns fill what the others leave.
	crowded := func(size int) world {
		w := listed
		w.listed = append(slices.Clone(w.listed), slices.Repeat([]string{"a.example"}, 3_780)...)
		for rest := size - len(decides+patterns(w)); rest > 0; {
			name := min(rest-len(" mx_host_pattern="), 200)
			if left := rest - len(" mx_host_pattern=") - name; left > 0 && left < 60 {
				name -= 60
			}
			labels := strings.Repeat("aaaaaaaaa.", 20)[:name-len(".example")]
			w.listed = append(w.listed, strings.TrimSuffix(labels, ".")+strings.Repeat("b", len(labels)-len(strings.TrimSuffix(labels, ".")))+".example")
			rest -= len(" mx_host_pattern=") + name
		}
		return w
	}
	for _, tt := range []struct {
		what  string
		world world
		want  func(world) string
	}{
		{"the text fits", filled(bound), func(w world) string { return decides + enforced(w, w.listed...) }},
		{"the text does not fit", filled(bound + 1), func(w world) string { return decides + patterns(w) }},
		{"the text does not fit beside what decides", filled(bound + len(decides)), func(w world) string { return decides + patterns(w) }},
		{"the patterns fit", crowded(bound), func(w world) string { return decides + patterns(w) }},
		{"the patterns do not fit", crowded(bound + 1), func(world) string { return decides }},
	} {
		plan, err := tt.world.resolve(t, policy.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := written(postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT})), tt.want(tt.world); got != want {
			t.Errorf("%s: %d octets, want %d: %.300s", tt.what, len(got), len(want), got)
		}
	}
}

// A line with a brace, or with a character that is not ASCII, and an empty one, are no
// attributes.
func TestLinesThatAreNotSent(t *testing.T) {
	for _, value := range []string{"} policy_failure=validation-failure", "{ x", "\u00e9"} {
		w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Enforce, listed: []string{one}, extra: "note: " + value + "\nother: text\n\n"}
		plan, err := w.resolve(t, policy.Config{})
		if err != nil {
			t.Fatal(err)
		}
		want := secure(one) + strings.Replace(enforced(w, one), " { policy_string = note: "+value+" }", "", 1)
		want = strings.TrimSuffix(want, " { policy_string =  }")
		if got := written(postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT})); got != want || strings.Contains(got, value) {
			t.Errorf("%q: %s", value, got)
		}
	}
}

// The patterns of a policy stay as they are if they match no other host than those that are
// served.
func TestPatternsThatMatchNoOtherHost(t *testing.T) {
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}, {name: "mx.example.net", insecure: true}}, mode: mtasts.Enforce, listed: []string{"*.example.org"}}
	plan, err := w.resolve(t, policy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := written(postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT})), secure(one)+enforced(w, "*.example.org"); got != want {
		t.Error(got)
	}
}
