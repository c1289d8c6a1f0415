package policy

import (
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// outcome is the last column of the decision table, as the documentation words
// it.
type outcome string

const (
	waits         outcome = "the domain waits"
	hostRefused   outcome = "host refused"
	byDANE        outcome = "be authenticated by DANE"
	encrypted     outcome = "be encrypted"
	allowListPKI  outcome = "match the allow-list and the web PKI"
	allThree      outcome = "match the allow-list, the web PKI and DANE"
	opportunistic outcome = "be opportunistic"
	observed      outcome = "be opportunistic; what enforce would have done is recorded"
)

// tableRow is a row of the documented table; nil columns stand for "any".
type tableRow struct {
	mx      []dnssec.Status
	tlsa    []tlsaFact
	mtasts  []mtastsFact
	session outcome
}

// documentedTable is the decision table, row by row in the order in which it is
// documented: DANE-26 to DANE-33, STS-2, STS-3, AMB-10, DANE-46, field notes 1,
// 8, 9, 11 and 48.
func documentedTable() []tableRow {
	failed := []dnssec.Status{dnssec.Indeterminate, dnssec.Bogus}
	secure := []dnssec.Status{dnssec.Secure}
	insecure := []dnssec.Status{dnssec.Insecure}
	either := []dnssec.Status{dnssec.Secure, dnssec.Insecure}
	noEnforce := []mtastsFact{mtastsNone, mtastsTesting}
	enforce := []mtastsFact{mtastsEnforce}
	return []tableRow{
		{failed, nil, nil, waits},
		{nil, []tlsaFact{tlsaFailed}, nil, hostRefused},
		{secure, []tlsaFact{tlsaUsable}, nil, byDANE},
		{secure, []tlsaFact{tlsaUnusable}, noEnforce, encrypted},
		{secure, []tlsaFact{tlsaUnusable}, enforce, allowListPKI},
		{either, []tlsaFact{tlsaNone}, enforce, allowListPKI},
		{either, []tlsaFact{tlsaNone}, []mtastsFact{mtastsTesting}, observed},
		{either, []tlsaFact{tlsaNone}, []mtastsFact{mtastsNone}, opportunistic},
		{insecure, []tlsaFact{tlsaUsable}, noEnforce, byDANE},
		{insecure, []tlsaFact{tlsaUsable}, enforce, allThree},
		{insecure, []tlsaFact{tlsaUnusable}, noEnforce, encrypted},
		{insecure, []tlsaFact{tlsaUnusable}, enforce, allowListPKI},
		// Not in the documented table, since no plan is made so: a policy that
		// had to be asked and was not is an unknown, and an unknown is refused.
		{either, nil, []mtastsFact{mtastsUnknown}, hostRefused},
	}
}

func contains[T comparable](any []T, one T) bool {
	if any == nil {
		return true
	}
	for _, each := range any {
		if each == one {
			return true
		}
	}
	return false
}

func documented(f facts) outcome {
	for _, row := range documentedTable() {
		if contains(row.mx, f.mx) && contains(row.tlsa, f.tlsa) && contains(row.mtasts, f.mtasts) {
			if row.session == allowListPKI || row.session == allThree {
				if !f.listed {
					return hostRefused
				}
			}
			return row.session
		}
	}
	return "no row"
}

func (v verdict) outcome() outcome {
	switch d := v.demands; {
	case v.level == Refused && v.refusal == mxLookupFailed:
		return waits
	case v.level == Refused:
		return hostRefused
	case v.level == Authenticated && d.dane && d.webPKI && v.by == ByDANE|ByMTASTS:
		return allThree
	case v.level == Authenticated && d.dane && v.by == ByDANE:
		return byDANE
	case v.level == Authenticated && d.webPKI && v.by == ByMTASTS:
		return allowListPKI
	case v.level == Encrypted && v.by == ByDANE && !d.dane && !d.webPKI:
		return encrypted
	case v.level == Opportunistic && v.by == 0 && d == demands{observe: true}:
		return observed
	case v.level == Opportunistic && v.by == 0 && d == demands{}:
		return opportunistic
	}
	return outcome(fmt.Sprintf("unexpected %+v", v))
}

// everyFact yields every combination of facts about a host.
func everyFact(yield func(facts) bool) {
	for _, mx := range []dnssec.Status{dnssec.Indeterminate, dnssec.Bogus, dnssec.Insecure, dnssec.Secure} {
		for _, tlsa := range []tlsaFact{tlsaFailed, tlsaNone, tlsaUnusable, tlsaUsable} {
			for _, mtasts := range []mtastsFact{mtastsUnknown, mtastsNone, mtastsTesting, mtastsEnforce} {
				for _, listed := range []bool{false, true} {
					if !yield(facts{mx, tlsa, mtasts, listed}) {
						return
					}
				}
			}
		}
	}
}

// everyWish yields every combination of wishes.
func everyWish(yield func(wishes) bool) {
	for _, floor := range []Level{Refused, Opportunistic, Encrypted, Authenticated} {
		for bits := range 128 {
			w := wishes{
				floor: floor, requireDANE: bits&1 != 0, requireBoth: bits&2 != 0, requireTLS: bits&4 != 0,
				tlsOptional: bits&8 != 0, pinned: bits&16 != 0, requireRoute: bits&32 != 0,
				hostPinned: bits&64 != 0,
			}
			if !yield(w) {
				return
			}
		}
	}
}

func TestDecisionTable(t *testing.T) {
	for f := range everyFact {
		if got, want := decide(f, wishes{}).outcome(), documented(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
}

// AMB-10: the operator may ask for both standards where DANE alone decides.
func TestRequireBoth(t *testing.T) {
	w := wishes{requireBoth: true}
	for f := range everyFact {
		if f.mx != dnssec.Secure || f.tlsa != tlsaUsable {
			if got, want := decide(f, w), decide(f, wishes{}); got != want {
				t.Errorf("%+v: RequireBoth changed %+v to %+v", f, want, got)
			}
			continue
		}
		want := byDANE
		switch {
		case f.mtasts == mtastsUnknown, f.mtasts == mtastsEnforce && !f.listed:
			want = hostRefused
		case f.mtasts == mtastsEnforce:
			want = allThree
		}
		v := decide(f, w)
		v.demands.observe = false
		if got := v.outcome(); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
}

// proves lists what must hold before mail may flow at a verdict: the more, the
// safer. A refused host proves everything.
type proof struct{ tls, dane, webPKI, never bool }

func (v verdict) proof() proof {
	return proof{
		tls:    v.level >= Encrypted || v.level == Refused,
		dane:   v.demands.dane || v.level == Refused,
		webPKI: v.demands.webPKI || v.level == Refused,
		never:  v.level == Refused,
	}
}

func (p proof) covers(other proof) bool {
	return (p.tls || !other.tls) && (p.dane || !other.dane) && (p.webPKI || !other.webPKI) && (p.never || !other.never)
}

// Every verdict is consistent in itself, for all facts and wishes together.
func TestVerdictIsConsistent(t *testing.T) {
	combinations := 0
	for f := range everyFact {
		for w := range everyWish {
			combinations++
			v := decide(f, w)
			switch {
			case (v.level == Refused) != (v.refusal != notRefused):
				t.Errorf("%+v %+v: refused without a reason, or a reason without refusal: %+v", f, w, v)
			case v.level == Authenticated != (v.demands.dane || v.demands.webPKI || v.demands.nextHop):
				t.Errorf("%+v %+v: the level and what is demanded disagree: %+v", f, w, v)
			case v.level != Refused && v.level < w.floor:
				t.Errorf("%+v %+v: below the floor: %+v", f, w, v)
			case v.level > Opportunistic && v.by == 0:
				t.Errorf("%+v %+v: nothing decided: %+v", f, w, v)
			case v.demands.dane && f.tlsa != tlsaUsable && !w.pinned && !w.hostPinned:
				t.Errorf("%+v %+v: DANE demanded without records: %+v", f, w, v)
			}
		}
	}
	t.Logf("%d combinations of facts and wishes", combinations)
}

// RequireRoute: what does not name the host securely leaves only the certificate to
// authenticate the route. A policy in testing mode does not name it.
func TestRequireRoute(t *testing.T) {
	for f := range everyFact {
		for w := range everyWish {
			v := decide(f, w)
			named := f.mx == dnssec.Secure || f.mtasts == mtastsEnforce && f.listed || w.pinned
			switch want := w.requireRoute && !named && v.level != Refused; {
			case v.demands.nextHop != want:
				t.Errorf("%+v %+v: a certificate for the next hop is demanded: %v, want %v", f, w, !want, want)
			case w.requireRoute && v.level < Authenticated && v.level != Refused:
				t.Errorf("%+v %+v: %+v", f, w, v)
			case want && v.demands.webPKI && !w.requireTLS:
				t.Errorf("%+v %+v: a certificate for both names is demanded: %+v", f, w, v)
			}
			w.requireRoute = false
			if without := decide(f, w); !v.proof().covers(without.proof()) && !v.demands.nextHop {
				t.Errorf("%+v %+v: RequireRoute lowered %+v to %+v", f, w, without, v)
			}
		}
	}
}

// Wishes only ever raise, except for "TLS-Required: No", which the message's own
// sender asked for (REQ-17, REQ-26), and which never weakens REQUIRETLS
// (REQ-21).
func TestWishesNeverLower(t *testing.T) {
	for f := range everyFact {
		plain := decide(f, wishes{}).proof()
		for w := range everyWish {
			if w.requireBoth && f.mtasts == mtastsUnknown || w.tlsOptional && !w.requireTLS {
				continue
			}
			if got := decide(f, w).proof(); !got.covers(plain) {
				t.Errorf("%+v: wishes %+v lowered %+v to %+v", f, w, plain, got)
			}
			both := w
			both.tlsOptional = true
			if w.requireTLS && decide(f, both) != decide(f, w) {
				t.Errorf("%+v %+v: TLSOptional changed what RequireTLS asks for", f, w)
			}
		}
	}
}

// DANE-34, DANE-44, DANE-104, OPS-34: mandatory DANE is met by a secure MX RRset and
// usable records, and by nothing else.
func TestRequireDANE(t *testing.T) {
	for f := range everyFact {
		v := decide(f, wishes{requireDANE: true})
		if v.level == Refused {
			continue
		}
		if f.mx != dnssec.Secure || f.tlsa != tlsaUsable || !v.demands.dane || v.level != Authenticated {
			t.Errorf("%+v: %+v", f, v)
		}
	}
	met := facts{mx: dnssec.Secure, tlsa: tlsaUsable}
	if v := decide(met, wishes{requireDANE: true}); v.level != Authenticated {
		t.Errorf("%+v: %+v", met, v)
	}
}

// REQ-2, REQ-3, REQ-6, REQ-7: an authenticated route and an authenticated
// server.
func TestRequireTLS(t *testing.T) {
	for f := range everyFact {
		v := decide(f, wishes{requireTLS: true})
		if v.level == Refused {
			continue
		}
		named := f.listed && (f.mtasts == mtastsEnforce || f.mtasts == mtastsTesting)
		if f.mx != dnssec.Secure && !named {
			t.Errorf("%+v: a route that nobody vouched for: %+v", f, v)
		}
		if v.level != Authenticated {
			t.Errorf("%+v: %+v", f, v)
		}
	}
	for _, f := range []facts{
		{mx: dnssec.Secure, tlsa: tlsaNone, mtasts: mtastsNone},
		{mx: dnssec.Insecure, tlsa: tlsaNone, mtasts: mtastsTesting, listed: true},
		{mx: dnssec.Insecure, tlsa: tlsaUnusable, mtasts: mtastsEnforce, listed: true},
	} {
		if v := decide(f, wishes{requireTLS: true}); v.level != Authenticated || !v.demands.webPKI {
			t.Errorf("%+v: %+v", f, v)
		}
	}
}

// The operator's own records are asked for whatever the recipient publishes and
// the mail says: only a host that must not be used at all goes without.
func TestPinIsAlwaysAskedFor(t *testing.T) {
	for f := range everyFact {
		for w := range everyWish {
			if !w.pinned && !w.hostPinned {
				continue
			}
			if v := decide(f, w); v.level != Refused && (v.level != Authenticated || !v.demands.dane || !v.by.Has(ByOperator)) {
				t.Errorf("%+v %+v: %+v", f, w, v)
			}
		}
	}
}

// REQ-17, REQ-26: "TLS-Required: No" passes over every policy but not over an
// MX lookup that failed, nor over the operator's floor.
func TestTLSOptional(t *testing.T) {
	for f := range everyFact {
		v := decide(f, wishes{tlsOptional: true})
		want := Opportunistic
		if f.mx != dnssec.Secure && f.mx != dnssec.Insecure {
			want = Refused
		}
		if v.level != want || v.demands != (demands{}) {
			t.Errorf("%+v: %+v", f, v)
		}
		if v := decide(f, wishes{tlsOptional: true, floor: Encrypted}); v.level != Refused && v.level != Encrypted {
			t.Errorf("%+v: below the floor: %+v", f, v)
		}
	}
}

// zone is what a domain really publishes, and what a sender remembers of it.
type zone struct {
	mxSecure   bool       // the MX RRset is signed
	hostSecure bool       // the host's addresses are signed
	tlsa       tlsaFact   // what the host publishes: none, unusable, usable
	policy     mtastsFact // what the policy host serves: none, testing, enforce
	remembered mtastsFact // what an unexpired policy in the cache says
}

// attack is what somebody on the path does. Nothing here breaks a signature or
// a certificate: signed data can be withheld or spoilt, and nothing else.
type attack struct {
	mx     int // 0 leaves it, 1 spoils it, 2 forges it to name an own host
	tlsa   int // 0 leaves it, 1 spoils it, 2 forges its absence
	policy int // 0 leaves it, 1 hides the TXT record or blocks the fetch
}

// observedUnder returns the facts that a sender gathers about the host in hand,
// as the validator and the policy cache turn attacks into facts: what is signed
// becomes a failure when touched, what is not becomes what the attacker likes.
func (z zone) observedUnder(a attack) facts {
	f := facts{mx: dnssec.Insecure, tlsa: tlsaNone, mtasts: z.policy, listed: true}
	if z.mxSecure {
		f.mx = dnssec.Secure
	}
	if z.hostSecure {
		f.tlsa = z.tlsa
	}
	switch {
	case a.mx == 0:
	case a.mx == 1 || z.mxSecure:
		f.mx = dnssec.Bogus
	default:
		f.listed = false // the attacker's own host is in nobody's allow-list
	}
	if a.tlsa != 0 && z.hostSecure {
		f.tlsa = tlsaFailed
	}
	if a.policy != 0 {
		f.mtasts = z.remembered
	}
	return f
}

// The property that matters: whatever an attacker on the path drops, forges or
// delays, no host is tried with less than the authenticated facts and the
// remembered policy demand.
func TestNoDowngradeOnThePath(t *testing.T) {
	bools := []bool{false, true}
	cases := 0
	for _, mxSecure := range bools {
		for _, hostSecure := range bools {
			for _, tlsa := range []tlsaFact{tlsaNone, tlsaUnusable, tlsaUsable} {
				for _, policy := range []mtastsFact{mtastsNone, mtastsTesting, mtastsEnforce} {
					for _, remembered := range []mtastsFact{mtastsNone, policy} {
						z := zone{mxSecure, hostSecure, tlsa, policy, remembered}
						for mx := range 3 {
							for drop := range 3 {
								for block := range 2 {
									a := attack{mx, drop, block}
									cases++
									checkNoDowngrade(t, z, a)
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d attacks", cases)
}

func checkNoDowngrade(t *testing.T, z zone, a attack) {
	t.Helper()
	got := decide(z.observedUnder(a), wishes{})
	// What is owed without the attacker, with the policy as remembered: the
	// first contact with a policy host is the one thing that MTA-STS cannot
	// protect (RFC 8461 section 10.2).
	owed := z
	if a.policy != 0 {
		owed.policy = z.remembered
	}
	want := decide(owed.observedUnder(attack{}), wishes{})
	if a.mx == 2 && !z.mxSecure {
		// A forged host instead of the domain's own: DANE at the domain's host
		// says nothing of it, and only an enforced policy keeps mail from it.
		if owed.policy == mtastsEnforce && got.level != Refused {
			t.Errorf("%+v under %+v: mail goes to a host outside the allow-list: %+v", z, a, got)
		}
		if got.routeAuthenticated {
			t.Errorf("%+v under %+v: a forged route counts as authenticated", z, a)
		}
		return
	}
	if !got.proof().covers(want.proof()) {
		t.Errorf("%+v under %+v: %+v, owed %+v", z, a, got, want)
	}
}

// The weakest state is the zero value.
func TestZeroValuesRefuse(t *testing.T) {
	if v := decide(facts{}, wishes{}); v.level != Refused {
		t.Errorf("nothing known gives %+v", v)
	}
	if v := decide(facts{mx: dnssec.Secure}, wishes{}); v.level != Refused {
		t.Errorf("no TLSA lookup gives %+v", v)
	}
	if v := decide(facts{mx: dnssec.Secure, tlsa: tlsaNone}, wishes{}); v.level != Refused {
		t.Errorf("no MTA-STS lookup gives %+v", v)
	}
	var h Host
	if h.Level != Refused {
		t.Errorf("the zero Host permits %v", h.Level)
	}
}
