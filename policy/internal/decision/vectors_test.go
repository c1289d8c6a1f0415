package decision

import (
	"slices"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/vectorfile"
)

// decisionInput and decisionResult are a case of testdata/decisions.json, which
// docs/vectors.md explains.
type decisionInput struct {
	MX     string   `json:"mx"`
	TLSA   string   `json:"tlsa"`
	MTASTS string   `json:"mta_sts"`
	Listed bool     `json:"listed"`
	Wishes []string `json:"wishes"`
	Floor  string   `json:"floor,omitempty"`
}

type decisionResult struct {
	Level     string   `json:"level"`
	Requires  []string `json:"requires"`
	Observe   bool     `json:"observe"`
	DecidedBy []string `json:"decided_by"`
	Refusal   string   `json:"refusal,omitempty"`
}

var (
	statuses   = map[string]dnssec.Status{"failed": dnssec.Indeterminate, "bogus": dnssec.Bogus, "insecure": dnssec.Insecure, "secure": dnssec.Secure}
	tlsas      = map[string]TLSA{"failed": TLSAFailed, "none": TLSANone, "unusable": TLSAUnusable, "usable": TLSAUsable}
	policies   = map[string]MTASTS{"unknown": MTASTSUnknown, "none": MTASTSNone, "testing": MTASTSTesting, "enforce": MTASTSEnforce}
	levels     = map[string]Level{"refused": Refused, "opportunistic": Opportunistic, "encrypted": Encrypted, "authenticated": Authenticated}
	mechanisms = []struct {
		by   Mechanism
		name string
	}{{ByDANE, "dane"}, {ByMTASTS, "mta-sts"}, {ByOperator, "operator"}}
	refusals = map[string]Refusal{
		"mx-lookup-failed": MXLookupFailed, "tlsa-lookup-failed": TLSALookupFailed, "policy-unknown": PolicyNotAsked,
		"not-listed": NotInAllowList, "dane-missing": DANEMissing, "route-unauthenticated": RouteUnauthenticated,
	}
	wishes = []struct {
		name string
		set  func(*Wishes)
	}{
		{"require-dane", func(w *Wishes) { w.RequireDANE = true }},
		{"require-both", func(w *Wishes) { w.RequireBoth = true }},
		{"require-route", func(w *Wishes) { w.RequireRoute = true }},
		{"require-tls", func(w *Wishes) { w.RequireTLS = true }},
		{"tls-optional", func(w *Wishes) { w.TLSOptional = true }},
		{"pinned", func(w *Wishes) { w.Pinned = true }},
		{"host-pinned", func(w *Wishes) { w.HostPinned = true }},
	}
)

// nameOf returns the name of a value.
func nameOf[T comparable](names map[string]T, value T) string {
	for name, named := range names {
		if named == value {
			return name
		}
	}
	return ""
}

// decisionInputs are every combination of facts, without wishes, with each floor, and with
// one or two wishes.
func decisionInputs() (inputs []decisionInput) {
	for f := range everyFact {
		facts := decisionInput{MX: nameOf(statuses, f.MX), TLSA: nameOf(tlsas, f.TLSA), MTASTS: nameOf(policies, f.MTASTS), Listed: f.Listed}
		add := func(floor string, wishes ...string) {
			input := facts
			input.Floor, input.Wishes = floor, append([]string{}, wishes...)
			inputs = append(inputs, input)
		}
		for _, floor := range []string{"", "encrypted", "authenticated"} {
			add(floor)
		}
		for i, one := range wishes {
			add("", one.name)
			for _, two := range wishes[i+1:] {
				add("", one.name, two.name)
			}
		}
	}
	return inputs
}

func decide(_ *testing.T, input decisionInput) decisionResult {
	w := Wishes{Floor: levels[input.Floor]}
	for _, wish := range wishes {
		if slices.Contains(input.Wishes, wish.name) {
			wish.set(&w)
		}
	}
	d := Decide(Facts{statuses[input.MX], tlsas[input.TLSA], policies[input.MTASTS], input.Listed}, w)
	r := decisionResult{
		Level: nameOf(levels, d.Level), Requires: []string{}, Observe: d.Demands.Observe, DecidedBy: []string{}, Refusal: nameOf(refusals, d.Refusal),
	}
	for _, need := range []struct {
		is   bool
		name string
	}{{d.Demands.DANE, "dane"}, {d.Demands.WebPKI, "web-pki"}, {d.Demands.NextHop, "next-hop"}} {
		if need.is {
			r.Requires = append(r.Requires, need.name)
		}
	}
	for _, m := range mechanisms {
		if d.By&m.by != 0 {
			r.DecidedBy = append(r.DecidedBy, m.name)
		}
	}
	return r
}

// The vectors for other senders have the decisions of this one. Another
// reader, in Python, decides by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	vectorfile.Check(t, "testdata/decisions.json", decisionInputs(), decide)
}
