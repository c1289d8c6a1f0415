package decision

import (
	"fmt"
	"slices"
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

// tableRow is a row of the documented table. A nil column means any value.
type tableRow struct {
	mx      []dnssec.Status
	tlsa    []TLSA
	mtasts  []MTASTS
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
	noEnforce := []MTASTS{MTASTSNone, MTASTSTesting}
	enforce := []MTASTS{MTASTSEnforce}
	return []tableRow{
		{failed, nil, nil, waits},
		{nil, []TLSA{TLSAFailed}, nil, hostRefused},
		{secure, []TLSA{TLSAUsable}, nil, byDANE},
		{secure, []TLSA{TLSAUnusable}, noEnforce, encrypted},
		{secure, []TLSA{TLSAUnusable}, enforce, allowListPKI},
		{either, []TLSA{TLSANone}, enforce, allowListPKI},
		{either, []TLSA{TLSANone}, []MTASTS{MTASTSTesting}, observed},
		{either, []TLSA{TLSANone}, []MTASTS{MTASTSNone}, opportunistic},
		{insecure, []TLSA{TLSAUsable}, noEnforce, byDANE},
		{insecure, []TLSA{TLSAUsable}, enforce, allThree},
		{insecure, []TLSA{TLSAUnusable}, noEnforce, encrypted},
		{insecure, []TLSA{TLSAUnusable}, enforce, allowListPKI},
		// This row is not in the documented table, because no plan has it: a policy
		// that was not looked up is unknown, and the host is refused.
		{either, nil, []MTASTS{MTASTSUnknown}, hostRefused},
	}
}

func contains[T comparable](column []T, value T) bool {
	return column == nil || slices.Contains(column, value)
}

func documented(f Facts) outcome {
	for _, row := range documentedTable() {
		if contains(row.mx, f.MX) && contains(row.tlsa, f.TLSA) && contains(row.mtasts, f.MTASTS) {
			if row.session == allowListPKI || row.session == allThree {
				if !f.Listed {
					return hostRefused
				}
			}
			return row.session
		}
	}
	return "no row"
}

func (v Verdict) outcome() outcome {
	switch d := v.Demands; {
	case v.Level == Refused && v.Refusal == MXLookupFailed:
		return waits
	case v.Level == Refused:
		return hostRefused
	case v.Level == Authenticated && d.DANE && d.WebPKI && v.By == ByDANE|ByMTASTS:
		return allThree
	case v.Level == Authenticated && d.DANE && v.By == ByDANE:
		return byDANE
	case v.Level == Authenticated && d.WebPKI && v.By == ByMTASTS:
		return allowListPKI
	case v.Level == Encrypted && v.By == ByDANE && !d.DANE && !d.WebPKI:
		return encrypted
	case v.Level == Opportunistic && v.By == 0 && d == Demands{Observe: true}:
		return observed
	case v.Level == Opportunistic && v.By == 0 && d == Demands{}:
		return opportunistic
	}
	return outcome(fmt.Sprintf("unexpected %+v", v))
}

// everyFact yields every combination of facts about a host.
func everyFact(yield func(Facts) bool) {
	for _, mx := range []dnssec.Status{dnssec.Indeterminate, dnssec.Bogus, dnssec.Insecure, dnssec.Secure} {
		for _, tlsa := range []TLSA{TLSAFailed, TLSANone, TLSAUnusable, TLSAUsable} {
			for _, mtasts := range []MTASTS{MTASTSUnknown, MTASTSNone, MTASTSTesting, MTASTSEnforce} {
				for _, listed := range []bool{false, true} {
					if !yield(Facts{mx, tlsa, mtasts, listed}) {
						return
					}
				}
			}
		}
	}
}

// everyWish yields every combination of wishes.
func everyWish(yield func(Wishes) bool) {
	for _, floor := range []Level{Refused, Opportunistic, Encrypted, Authenticated} {
		for bits := range 128 {
			w := Wishes{
				Floor: floor, RequireDANE: bits&1 != 0, RequireBoth: bits&2 != 0, RequireTLS: bits&4 != 0,
				TLSOptional: bits&8 != 0, Pinned: bits&16 != 0, RequireRoute: bits&32 != 0,
				HostPinned: bits&64 != 0,
			}
			if !yield(w) {
				return
			}
		}
	}
}

func TestDecisionTable(t *testing.T) {
	for f := range everyFact {
		if got, want := Decide(f, Wishes{}).outcome(), documented(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
}

// AMB-10: the operator may ask for both standards where DANE alone decides.
func TestRequireBothStandards(t *testing.T) {
	w := Wishes{RequireBoth: true}
	for f := range everyFact {
		if f.MX != dnssec.Secure || f.TLSA != TLSAUsable {
			if got, want := Decide(f, w), Decide(f, Wishes{}); got != want {
				t.Errorf("%+v: RequireBoth changed %+v to %+v", f, want, got)
			}
			continue
		}
		want := byDANE
		switch {
		case f.MTASTS == MTASTSUnknown, f.MTASTS == MTASTSEnforce && !f.Listed:
			want = hostRefused
		case f.MTASTS == MTASTSEnforce:
			want = allThree
		}
		v := Decide(f, w)
		v.Demands.Observe = false
		if got := v.outcome(); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
}

// proof is what a session must prove before mail is sent: the more, the safer. A
// refused host would have to prove everything.
type proof struct{ tls, dane, webPKI, never bool }

func (v Verdict) proof() proof {
	return proof{
		tls:    v.Level >= Encrypted || v.Level == Refused,
		dane:   v.Demands.DANE || v.Level == Refused,
		webPKI: v.Demands.WebPKI || v.Level == Refused,
		never:  v.Level == Refused,
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
			v := Decide(f, w)
			switch {
			case (v.Level == Refused) != (v.Refusal != NotRefused):
				t.Errorf("%+v %+v: refused without a reason, or a reason without refusal: %+v", f, w, v)
			case v.Level == Authenticated != (v.Demands.DANE || v.Demands.WebPKI || v.Demands.NextHop):
				t.Errorf("%+v %+v: the level and what is demanded disagree: %+v", f, w, v)
			case v.Level != Refused && v.Level < w.Floor:
				t.Errorf("%+v %+v: below the floor: %+v", f, w, v)
			case v.Level > Opportunistic && v.By == 0:
				t.Errorf("%+v %+v: nothing decided: %+v", f, w, v)
			case v.Demands.DANE && f.TLSA != TLSAUsable && !w.Pinned && !w.HostPinned:
				t.Errorf("%+v %+v: DANE demanded without records: %+v", f, w, v)
			}
		}
	}
	t.Logf("%d combinations of facts and wishes", combinations)
}

// RequireRoute: if nothing secure names the host, only its certificate can
// authenticate the route. A policy in testing mode does not count.
func TestRequireRouteByCertificate(t *testing.T) {
	for f := range everyFact {
		for w := range everyWish {
			v := Decide(f, w)
			named := f.MX == dnssec.Secure || f.MTASTS == MTASTSEnforce && f.Listed || w.Pinned
			switch want := w.RequireRoute && !named && v.Level != Refused; {
			case v.Demands.NextHop != want:
				t.Errorf("%+v %+v: a certificate for the next hop is demanded: %v, want %v", f, w, !want, want)
			case w.RequireRoute && v.Level < Authenticated && v.Level != Refused:
				t.Errorf("%+v %+v: %+v", f, w, v)
			case want && v.Demands.WebPKI && !w.RequireTLS:
				t.Errorf("%+v %+v: a certificate for both names is demanded: %+v", f, w, v)
			}
			w.RequireRoute = false
			if without := Decide(f, w); !v.proof().covers(without.proof()) && !v.Demands.NextHop {
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
		plain := Decide(f, Wishes{}).proof()
		for w := range everyWish {
			if w.RequireBoth && f.MTASTS == MTASTSUnknown || w.TLSOptional && !w.RequireTLS {
				continue
			}
			if got := Decide(f, w).proof(); !got.covers(plain) {
				t.Errorf("%+v: wishes %+v lowered %+v to %+v", f, w, plain, got)
			}
			both := w
			both.TLSOptional = true
			if w.RequireTLS && Decide(f, both) != Decide(f, w) {
				t.Errorf("%+v %+v: TLSOptional changed what RequireTLS asks for", f, w)
			}
		}
	}
}

// DANE-34, DANE-44, DANE-104, OPS-34: mandatory DANE is met by a secure MX RRset and
// usable records, and by nothing else.
func TestRequireDANE(t *testing.T) {
	for f := range everyFact {
		v := Decide(f, Wishes{RequireDANE: true})
		if v.Level == Refused {
			continue
		}
		if f.MX != dnssec.Secure || f.TLSA != TLSAUsable || !v.Demands.DANE || v.Level != Authenticated {
			t.Errorf("%+v: %+v", f, v)
		}
	}
	met := Facts{MX: dnssec.Secure, TLSA: TLSAUsable}
	if v := Decide(met, Wishes{RequireDANE: true}); v.Level != Authenticated {
		t.Errorf("%+v: %+v", met, v)
	}
}

// REQ-2, REQ-3, REQ-6, REQ-7: an authenticated route and an authenticated
// server.
func TestRequireTLS(t *testing.T) {
	for f := range everyFact {
		v := Decide(f, Wishes{RequireTLS: true})
		if v.Level == Refused {
			continue
		}
		named := f.Listed && (f.MTASTS == MTASTSEnforce || f.MTASTS == MTASTSTesting)
		if f.MX != dnssec.Secure && !named {
			t.Errorf("%+v: the route is not authenticated: %+v", f, v)
		}
		if v.Level != Authenticated {
			t.Errorf("%+v: %+v", f, v)
		}
	}
	for _, f := range []Facts{
		{MX: dnssec.Secure, TLSA: TLSANone, MTASTS: MTASTSNone},
		{MX: dnssec.Insecure, TLSA: TLSANone, MTASTS: MTASTSTesting, Listed: true},
		{MX: dnssec.Insecure, TLSA: TLSAUnusable, MTASTS: MTASTSEnforce, Listed: true},
	} {
		if v := Decide(f, Wishes{RequireTLS: true}); v.Level != Authenticated || !v.Demands.WebPKI {
			t.Errorf("%+v: %+v", f, v)
		}
	}
}

// The operator's own records are demanded, whatever the recipient publishes and the
// mail says, unless the host is refused.
func TestPinIsAlwaysDemanded(t *testing.T) {
	for f := range everyFact {
		for w := range everyWish {
			if !w.Pinned && !w.HostPinned {
				continue
			}
			if v := Decide(f, w); v.Level != Refused && (v.Level != Authenticated || !v.Demands.DANE || v.By&ByOperator == 0) {
				t.Errorf("%+v %+v: %+v", f, w, v)
			}
		}
	}
}

// REQ-17, REQ-26: "TLS-Required: No" passes over every policy but not over an
// MX lookup that failed, nor over the operator's floor.
func TestTLSOptional(t *testing.T) {
	for f := range everyFact {
		v := Decide(f, Wishes{TLSOptional: true})
		want := Opportunistic
		if f.MX != dnssec.Secure && f.MX != dnssec.Insecure {
			want = Refused
		}
		if v.Level != want || v.Demands != (Demands{}) {
			t.Errorf("%+v: %+v", f, v)
		}
		if v := Decide(f, Wishes{TLSOptional: true, Floor: Encrypted}); v.Level != Refused && v.Level != Encrypted {
			t.Errorf("%+v: below the floor: %+v", f, v)
		}
	}
}

// zone is what a domain really publishes, and what a sender remembers of it.
type zone struct {
	mxSecure   bool   // the MX RRset is signed
	hostSecure bool   // the host's addresses are signed
	tlsa       TLSA   // what the host publishes: none, unusable, usable
	policy     MTASTS // what the policy host serves: none, testing, enforce
	remembered MTASTS // what an unexpired policy in the cache says
}

// attack is what an attacker on the path does. It cannot forge a signature or a
// certificate: signed data can be withheld or corrupted, and nothing else.
type attack struct {
	mx     int // 0: nothing, 1: corrupts it, 2: forges it to name the attacker's host
	tlsa   int // 0: nothing, 1: corrupts it, 2: forges its absence
	policy int // 0: nothing, 1: hides the TXT record or blocks the fetch
}

// observedUnder returns the facts that a sender gathers about a host under an attack.
// A change to signed data makes its lookup fail, and unsigned data becomes what the
// attacker chooses.
func (z zone) observedUnder(a attack) Facts {
	f := Facts{MX: dnssec.Insecure, TLSA: TLSANone, MTASTS: z.policy, Listed: true}
	if z.mxSecure {
		f.MX = dnssec.Secure
	}
	if z.hostSecure {
		f.TLSA = z.tlsa
	}
	switch {
	case a.mx == 0:
	case a.mx == 1 || z.mxSecure:
		f.MX = dnssec.Bogus
	default:
		f.Listed = false // the attacker's host is not in the allow-list
	}
	if a.tlsa != 0 && z.hostSecure {
		f.TLSA = TLSAFailed
	}
	if a.policy != 0 {
		f.MTASTS = z.remembered
	}
	return f
}

// Whatever an attacker on the path drops or forges, no host is tried with less than
// the authenticated facts and the remembered policy demand.
func TestNoDowngradeOnThePath(t *testing.T) {
	bools := []bool{false, true}
	cases := 0
	for _, mxSecure := range bools {
		for _, hostSecure := range bools {
			for _, tlsa := range []TLSA{TLSANone, TLSAUnusable, TLSAUsable} {
				for _, policy := range []MTASTS{MTASTSNone, MTASTSTesting, MTASTSEnforce} {
					for _, remembered := range []MTASTS{MTASTSNone, policy} {
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
	got := Decide(z.observedUnder(a), Wishes{})
	// owed is what a session must prove without the attacker, with the policy as
	// remembered: MTA-STS does not protect the first fetch (RFC 8461 section 10.2).
	owed := z
	if a.policy != 0 {
		owed.policy = z.remembered
	}
	want := Decide(owed.observedUnder(attack{}), Wishes{})
	if a.mx == 2 && !z.mxSecure {
		// The host is the attacker's. DANE at the domain's host does not concern it,
		// so only an enforced policy keeps mail from it.
		if owed.policy == MTASTSEnforce && got.Level != Refused {
			t.Errorf("%+v under %+v: mail goes to a host outside the allow-list: %+v", z, a, got)
		}
		if got.RouteAuthenticated {
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
	if v := Decide(Facts{}, Wishes{}); v.Level != Refused {
		t.Errorf("nothing known gives %+v", v)
	}
	if v := Decide(Facts{MX: dnssec.Secure}, Wishes{}); v.Level != Refused {
		t.Errorf("no TLSA lookup gives %+v", v)
	}
	if v := Decide(Facts{MX: dnssec.Secure, TLSA: TLSANone}, Wishes{}); v.Level != Refused {
		t.Errorf("no MTA-STS lookup gives %+v", v)
	}
	if v := (Verdict{}); v.Level != Refused {
		t.Errorf("the zero Verdict permits %v", v.Level)
	}
}
