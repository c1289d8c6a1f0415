package sums

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Merged returns the total of two sums of a domain, within the limits of one domain. It has
// the texts of the sums, not copies.
func Merged(domain string, before, added []report.PolicyResult) []report.PolicyResult {
	if len(before) == 0 {
		if sorted, ok := sorted(domain, added); ok {
			return sorted
		}
	}
	t := &Tally{seed: maphash.MakeSeed(), domain: domain, octets: tallyOctets + 2*len(domain), shares: true}
	t.Merge(before)
	t.Merge(added)
	return t.Results()
}

// sorted returns results in the order of a report, if they are what a Tally would return
// for them: few, distinct, canonical, and within the limits. What stores return is nearly
// always so, and to count it would cost ten times as much. If ok is false, they may be
// something else.
func sorted(domain string, results []report.PolicyResult) (_ []report.PolicyResult, ok bool) {
	if len(results) == 0 || len(results) > few {
		return nil, false
	}
	octets, text := tallyOctets+2*len(domain), 0
	results = slices.Clone(results)
	for i := range results {
		r := &results[i]
		if r.Summary == (report.Summary{}) || !isCanonicalPolicy(&r.Policy, domain) || !areDistinct(r.Details) {
			return nil, false
		}
		octets += policyOctets
		text += textOfPolicy(&r.Policy)
		for j := range r.Details {
			d := &r.Details[j]
			if d.Sessions <= 0 || d.Sessions > r.Summary.MaxSessions(d.Type) || canonicalDetail(*d) != *d {
				return nil, false
			}
			octets += detailOctets
			text += textOfDetail(d)
		}
		r.Details = slices.Clone(r.Details)
		slices.SortFunc(r.Details, CompareDetails)
	}
	if text > maxTexts || octets+text > maxOctets {
		return nil, false
	}
	slices.SortFunc(results, comparePolicies)
	for i := range len(results) - 1 {
		if comparePolicies(results[i], results[i+1]) == 0 {
			return nil, false
		}
	}
	return results, true
}

func isCanonicalPolicy(p *tlsrpt.Policy, domain string) bool {
	canonical := canonicalPolicy(*p, domain)
	return canonical.Type == p.Type && canonical.Domain == p.Domain &&
		slices.Equal(canonical.Strings, p.Strings) && slices.Equal(canonical.MXHosts, p.MXHosts)
}

// areDistinct reports whether details are few and differ in more than their sessions.
func areDistinct(details []report.Detail) bool {
	if len(details) > few {
		return false
	}
	for i, d := range details {
		for _, other := range details[:i] {
			other.Sessions = d.Sessions
			if other == d {
				return false
			}
		}
	}
	return true
}

// comparePolicies orders the results of policies as in a report.
func comparePolicies(a, b report.PolicyResult) int {
	return cmp.Or(
		cmp.Compare(a.Policy.Type, b.Policy.Type),
		cmp.Compare(a.Policy.Domain, b.Policy.Domain),
		slices.Compare(a.Policy.Strings, b.Policy.Strings),
		slices.Compare(a.Policy.MXHosts, b.Policy.MXHosts),
	)
}

// CompareDetails orders details by frequency, the most frequent first, and then by
// all other fields.
func CompareDetails(a, b report.Detail) int {
	return cmp.Or(
		cmp.Compare(b.Sessions, a.Sessions),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.ReasonCode, b.ReasonCode),
		cmp.Compare(a.MXHost, b.MXHost),
		a.ReceivingIP.Compare(b.ReceivingIP),
		a.SendingIP.Compare(b.SendingIP),
		cmp.Compare(a.HELO, b.HELO),
		cmp.Compare(a.Info, b.Info),
	)
}
