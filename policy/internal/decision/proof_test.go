package decision

import (
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// P6: a host that DANE authenticates needs no certificate of the web PKI, whatever floor
// the operator sets, and even if the mail requires TLS (RFC 8689 section 4.2.1).
func TestP6DANESuffices(t *testing.T) {
	for f := range everyFact {
		if f.TLSA != TLSAUsable {
			continue
		}
		plain := Decide(f, Wishes{})
		for _, w := range []Wishes{
			{Floor: Encrypted}, {Floor: Authenticated}, {RequireTLS: true}, {RequireTLS: true, TLSOptional: true},
			{Floor: Authenticated, RequireTLS: true}, {Floor: Authenticated, RequireDANE: true},
		} {
			if v := Decide(f, w); v.Level != Refused && v.Demands != plain.Demands {
				t.Errorf("%+v %+v: demands %+v, want %+v", f, w, v.Demands, plain.Demands)
			}
		}
	}
	// A host that is pinned needs none either.
	for _, w := range []Wishes{{Pinned: true, Floor: Authenticated}, {HostPinned: true, Floor: Authenticated}, {Pinned: true, Floor: Authenticated, TLSOptional: true}} {
		f := Facts{MX: dnssec.Insecure, TLSA: TLSANone, MTASTS: MTASTSNone}
		if v := Decide(f, w); v.Level != Authenticated || v.Demands != (Demands{DANE: true}) || v.By != ByDANE|ByOperator {
			t.Errorf("%+v: %+v", w, v)
		}
	}
}

// P6: every verdict names the mechanisms that decided, and the reason of a refusal. A
// refusal keeps its first reason, whatever else is required.
func TestP6VerdictNamesWhoDecides(t *testing.T) {
	const (
		secure, insecure      = dnssec.Secure, dnssec.Insecure
		none, unusable, good  = TLSANone, TLSAUnusable, TLSAUsable
		noPolicy, enforce, un = MTASTSNone, MTASTSEnforce, MTASTSUnknown
	)
	for _, tt := range []struct {
		f     Facts
		w     Wishes
		level Level
		why   Refusal
		by    Mechanism
		needs Demands
	}{
		{Facts{dnssec.Bogus, good, enforce, true}, Wishes{}, Refused, MXLookupFailed, 0, Demands{}},
		{Facts{dnssec.Indeterminate, good, enforce, true}, Wishes{TLSOptional: true, Pinned: true, RequireTLS: true}, Refused, MXLookupFailed, 0, Demands{}},
		{Facts{secure, TLSAFailed, enforce, true}, Wishes{}, Refused, TLSALookupFailed, ByDANE, Demands{}},
		{Facts{secure, TLSAFailed, enforce, true}, Wishes{RequireTLS: true, RequireDANE: true, RequireRoute: true, Pinned: true}, Refused, TLSALookupFailed, ByDANE, Demands{}},
		{Facts{insecure, TLSAFailed, noPolicy, false}, Wishes{RequireTLS: true}, Refused, TLSALookupFailed, ByDANE, Demands{}},
		{Facts{insecure, none, un, true}, Wishes{}, Refused, PolicyNotAsked, ByMTASTS, Demands{}},
		{Facts{secure, good, un, true}, Wishes{RequireBoth: true}, Refused, PolicyNotAsked, ByMTASTS, Demands{}},
		{Facts{insecure, none, enforce, false}, Wishes{}, Refused, NotInAllowList, ByMTASTS, Demands{}},
		{Facts{insecure, none, enforce, false}, Wishes{RequireTLS: true, RequireRoute: true, Floor: Authenticated}, Refused, NotInAllowList, ByMTASTS, Demands{}},
		{Facts{insecure, none, noPolicy, false}, Wishes{RequireDANE: true}, Refused, DANEMissing, ByDANE | ByOperator, Demands{}},
		{Facts{insecure, good, noPolicy, false}, Wishes{RequireDANE: true}, Refused, DANEMissing, ByDANE | ByOperator, Demands{}},
		{Facts{secure, unusable, noPolicy, false}, Wishes{RequireDANE: true}, Refused, DANEMissing, ByDANE | ByOperator, Demands{}},
		{Facts{insecure, good, noPolicy, false}, Wishes{RequireTLS: true}, Refused, RouteUnauthenticated, ByOperator, Demands{}},

		{Facts{secure, good, noPolicy, false}, Wishes{RequireDANE: true}, Authenticated, 0, ByDANE | ByOperator, Demands{DANE: true}},
		// The operator's own records are usable ones.
		{Facts{secure, none, noPolicy, false}, Wishes{RequireDANE: true, Pinned: true}, Authenticated, 0, ByDANE | ByOperator, Demands{DANE: true}},
		{Facts{secure, unusable, noPolicy, false}, Wishes{RequireDANE: true, HostPinned: true}, Authenticated, 0, ByDANE | ByOperator, Demands{DANE: true}},
		// So are those of the recipient if the mail does without policies.
		{Facts{secure, good, enforce, false}, Wishes{RequireDANE: true, TLSOptional: true}, Authenticated, 0, ByDANE | ByOperator, Demands{DANE: true}},
		{Facts{secure, none, noPolicy, false}, Wishes{RequireTLS: true}, Authenticated, 0, ByOperator, Demands{WebPKI: true}},
		{Facts{secure, none, noPolicy, false}, Wishes{Floor: Encrypted}, Encrypted, 0, ByOperator, Demands{}},
		{Facts{secure, unusable, noPolicy, false}, Wishes{Floor: Encrypted}, Encrypted, 0, ByDANE, Demands{}},
		{Facts{secure, unusable, noPolicy, false}, Wishes{Floor: Authenticated}, Authenticated, 0, ByDANE | ByOperator, Demands{WebPKI: true}},
		{Facts{insecure, none, enforce, true}, Wishes{Floor: Authenticated}, Authenticated, 0, ByMTASTS, Demands{WebPKI: true}},
		{Facts{insecure, none, noPolicy, true}, Wishes{RequireRoute: true}, Authenticated, 0, ByOperator, Demands{NextHop: true}},
		{Facts{insecure, good, noPolicy, true}, Wishes{RequireRoute: true}, Authenticated, 0, ByDANE | ByOperator, Demands{DANE: true, NextHop: true}},
		{Facts{secure, none, noPolicy, true}, Wishes{RequireRoute: true}, Authenticated, 0, ByOperator, Demands{WebPKI: true}},
		{Facts{insecure, none, MTASTSTesting, true}, Wishes{RequireRoute: true}, Authenticated, 0, ByOperator, Demands{NextHop: true, Observe: true}},
	} {
		v := Decide(tt.f, tt.w)
		if v.Level != tt.level || v.Refusal != tt.why || v.By != tt.by || v.Demands != tt.needs {
			t.Errorf("%+v %+v: %+v, want level %v, refusal %v, by %v, %+v", tt.f, tt.w, v, tt.level, tt.why, tt.by, tt.needs)
		}
	}
}
