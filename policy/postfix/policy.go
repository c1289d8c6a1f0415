package postfix

import (
	"errors"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Options says who asks, and what the operator wants. The zero value is for any Postfix
// from 3.6 on that validates DNSSEC by its resolver.
type Options struct {
	// Client is the program that asks. The zero value means Postfix.
	Client Client

	// Fingerprints is for a client whose resolver does not validate DNSSEC. It never gets a
	// policy for which it would need that. DANE-EE records with SHA2-256 are sent as
	// fingerprints, so that the validation of the plan counts; mail to hosts that have other
	// records waits. Postfix needs smtp_tls_fingerprint_digest = sha256, which is the
	// default from compatibility level 3.6 on. Its reports do not mention DANE then.
	Fingerprints bool

	// DeferInsecureMX makes mail wait for hosts with TLSA records that are found by
	// insecure MX records, and for which a policy is enforced. The plan demands both then,
	// and Postfix can do only one. False means that MTA-STS alone is demanded, as RFC 7672
	// section 2.2.1 permits; Reply.Weaker is true then.
	DeferInsecureMX bool

	// TestingReports sends the attributes for TLSRPT of policies in testing mode as well,
	// together with dane, to a PostfixTLSRPT. Its reports count a session as success that
	// the policy would have refused if it was enforced. False means that there are no reports
	// about these policies.
	TestingReports bool

	// Via is the next hop that the client connects to, as in Plan.Via. Empty means the mail
	// hosts of the recipient domain. Mail waits if the plan is for another next hop.
	Via string
}

// Client is a program that asks for policies.
type Client uint8

const (
	// Postfix is Postfix from 3.6 on.
	Postfix Client = iota
	// PostfixTLSRPT is Postfix from 3.10 on, which also gets what its TLS reports and its
	// comparison of MX names with the policy need. Older versions refuse these attributes.
	PostfixTLSRPT
	// Sendmail is a sendmail with FEATURE(sts). It understands only policies of the level
	// secure, and must have DANE switched on, which makes it do what the answer dane says.
	Sendmail
)

// Status says what an answer is. The zero value is Temporary.
type Status uint8

const (
	// Temporary means that the mail waits.
	Temporary Status = iota
	// NotFound means that there is no policy: the client does what its configuration says.
	NotFound
	// Found means that Reply.Text is the policy.
	Found
)

// Reply is the answer for one domain. The zero value lets the mail wait.
type Reply struct {
	Status Status
	// Text is the policy, such as "dane-only protocols=>=TLSv1.2", or why the mail waits: one
	// line of printable ASCII, of at most 200 octets. It is empty if there is no policy.
	Text string
	// Weaker is true if the policy demands less than the plan: see Options.DeferInsecureMX.
	Weaker bool
	// Inexact is what the client cannot do of the plan. nil means that the policy is exact.
	Inexact []Loss
}

// Level returns the first word of the policy, such as "dane-only", and "notfound" or "temp" if
// there is none. It is for logs and metrics: there are seven of them.
func (r Reply) Level() string {
	switch r.Status {
	case Found:
		level, _, _ := strings.Cut(r.Text, " ")
		return level
	case NotFound:
		return "notfound"
	default:
		return "temp"
	}
}

// Policy returns the answer to a client for a plan, or for the error that
// [policy.Resolver.Resolve] returned instead of one. If it does not know something in the
// plan, the mail waits.
func Policy(plan *policy.Plan, err error, o Options) Reply {
	switch {
	case err != nil:
		return withoutPlan(err, o)
	case plan == nil:
		return wait("there is no plan for the domain")
	case plan.Via != o.Via:
		return wait("the configuration of mxseal sends the mail of this domain to " + plan.Via + "; send it there by transport_maps")
	}
	t := newTable(plan, o)
	if len(t.usable) == 0 {
		return withoutHost(plan, o)
	}
	best, excluded := t.choose()
	if best == nil {
		return t.cannot()
	}
	return t.reply(best, excluded)
}

// withoutPlan answers for a domain that has no plan.
func withoutPlan(err error, o Options) Reply {
	var failure *policy.Error
	if errors.As(err, &failure) && !failure.Temporary() {
		return unknown(failure, failure.Floor, o)
	}
	return wait(strings.TrimPrefix(err.Error(), "policy: "))
}

// unknown answers for a domain that permanently has no mail host. The client finds that out
// itself. But it may know hosts from elsewhere, and mail to these must not wait until it is
// returned. It has the protection that the operator demands of all hosts, which an attacker who
// forges a denial must not take away; it waits only if the client cannot demand that.
func unknown(failure *policy.Error, floor policy.Level, o Options) Reply {
	switch {
	case floor == policy.Opportunistic:
		return Reply{Status: NotFound}
	case floor == policy.Encrypted && o.Client != Sendmail:
		return encrypt{}.write(nil)
	}
	return wait(strings.TrimPrefix(failure.Error(), "policy: "))
}

// withoutHost answers for a domain all of whose hosts are refused. That is permanent only if they
// are refused for other reasons than a policy.
func withoutHost(plan *policy.Plan, o Options) Reply {
	var refusals []*policy.Error
	byPolicy, floor := false, policy.Opportunistic
	for _, host := range plan.Hosts {
		if host.Refusal == nil || host.Floor == policy.Refused {
			return wait("a mail host is refused")
		}
		refusals = append(refusals, host.Refusal)
		byPolicy = byPolicy || host.Refusal.By != 0
		floor = max(floor, host.Floor)
	}
	failure := plan.Failed(refusals...)
	if len(refusals) > 0 && !byPolicy && !failure.Temporary() {
		return unknown(failure, floor, o)
	}
	return wait(strings.TrimPrefix(failure.Error(), "policy: "))
}

// wait answers that the mail waits.
func wait(why string) Reply {
	return Reply{Status: Temporary, Text: reason(why)}
}

// table is one plan, for one client.
type table struct {
	Options
	plan *policy.Plan
	// demands has one entry for each host of the plan.
	demands []demand
	// usable are the demands of the hosts that are not refused, by preference.
	usable []demand

	few [2 * fewHosts]demand // room for both, if it is enough
}

// fewHosts is a number of mail hosts that most domains do not exceed.
const fewHosts = 4

func newTable(plan *policy.Plan, o Options) *table {
	t := &table{Options: o, plan: plan}
	if len(plan.Hosts) <= fewHosts {
		t.demands, t.usable = t.few[:0:fewHosts], t.few[fewHosts:fewHosts]
	}
	for _, host := range plan.Hosts {
		d := demandOf(host, plan)
		t.demands = append(t.demands, d)
		if d.kind != refusedByPolicy && d.kind != unreachable {
			t.usable = append(t.usable, d)
		}
	}
	return t
}

// choose returns the policy that is weaker for no host than the plan and serves all usable hosts;
// or else the first that serves a host of the best preference, or of any. excluded are the hosts
// that it does not serve. nil means that there is no policy.
func (t *table) choose() (best candidate, excluded []demand) {
	const servesAll = 2
	rank := -1
	for c := range t.candidates {
		out, allowed := t.judge(c)
		if !allowed || len(out) == len(t.usable) {
			continue
		}
		r := 0
		switch {
		case len(out) == 0:
			r = servesAll
		case slices.ContainsFunc(t.usable, func(d demand) bool {
			return d.host.Preference == t.usable[0].host.Preference && !slices.ContainsFunc(out, d.isHost)
		}):
			r = 1
		}
		if r > rank {
			best, excluded, rank = c, out, r
		}
		if rank == servesAll {
			break
		}
	}
	return best, excluded
}

// judge returns the usable hosts that a policy does not serve, and false if the policy is weaker
// for some host than the plan.
func (t *table) judge(c candidate) (excluded []demand, allowed bool) {
	if t.plan.Omitted() > 0 && !t.suitsOmitted(c) {
		return nil, false
	}
	for _, d := range t.demands {
		switch c.treats(d) {
		case weaker:
			return nil, false
		case excludes:
			if slices.ContainsFunc(t.usable, d.isHost) {
				excluded = append(excluded, d)
			}
		}
	}
	return excluded, true
}

// suitsOmitted reports whether a policy is safe for hosts that the plan leaves out and the
// client finds. Each of them may have TLSA records, and the plan permits no mail to it.
func (t *table) suitsOmitted(c candidate) bool {
	switch c.(type) {
	case daneOnly, secure, fingerprint: // a host needs its own keys or the certificate of another
		return true
	case daneByHost: // a host without TLSA records needs nothing, as others of the plan
		return slices.ContainsFunc(t.usable, func(d demand) bool { return d.kind == opportunistic })
	}
	return false
}

// reply makes the answer of the policy that was chosen.
func (t *table) reply(c candidate, excluded []demand) Reply {
	r := c.write(t)
	r.Inexact = t.losses(c, excluded)
	s, _ := c.(secure)
	r.Weaker = slices.ContainsFunc(s.hosts, demand.isBothAtInsecureMX)
	return r
}

// cannot answers for a plan that no policy of the client keeps.
func (t *table) cannot() Reply {
	r := wait("no TLS policy demands as much as the plan of this domain; use the relay of mxseal for it")
	r.Inexact = t.losses(nil, slices.DeleteFunc(slices.Clone(t.usable), func(d demand) bool { return d.kind == opportunistic }))
	if len(r.Inexact) > 0 {
		r.Text = reason("no TLS policy can say this, use the relay of mxseal: " + r.Inexact[0].String())
	}
	return r
}

// enforces reports whether the plan has an MTA-STS policy that is enforced.
func (t *table) enforces() bool { return t.plan.MTASTS.Mode() == mtasts.Enforce }
