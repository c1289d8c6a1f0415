package sums

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/internal/syntax"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// maxHostText limits the names that mail hosts choose for themselves, in octets.
const maxHostText = 255

// canonicalPolicy returns p in a form that a report may have. domain is the recipient
// domain, which replaces a malformed policy domain. A policy that is already
// canonical keeps its slices.
func canonicalPolicy(p tlsrpt.Policy, domain string) tlsrpt.Policy {
	var err error
	if p.Domain, err = names.Canonical(p.Domain); err != nil {
		p.Domain = domain
	}
	switch p.Type {
	case tlsrpt.STS:
		p.MXHosts = canonicalPatterns(p.MXHosts)
	case tlsrpt.TLSA:
		p.MXHosts = nil
		if !slices.IsSorted(p.Strings) { // DNS returns records in any order
			p.Strings = slices.Sorted(slices.Values(p.Strings))
		}
	default:
		p.Type, p.Strings, p.MXHosts = tlsrpt.NoPolicyFound, nil, nil
	}
	p.Strings = boundedText(validText(p.Strings))
	return p
}

// validText replaces octets that are not UTF-8, which JSON cannot represent (RFC
// 7493 section 2.1). A policy must be the same before it is stored and after.
func validText(lines []string) []string {
	if !slices.ContainsFunc(lines, func(line string) bool { return !utf8.ValidString(line) }) {
		return lines
	}
	valid := make([]string, len(lines))
	for i, line := range lines {
		valid[i] = strings.ToValidUTF8(line, "\ufffd")
	}
	return valid
}

// canonicalPatterns leaves out malformed patterns.
func canonicalPatterns(patterns []string) []string {
	canonical := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		name, isWildcard := strings.CutPrefix(pattern, "*.")
		name, err := names.Canonical(name)
		switch {
		case err != nil:
		case isWildcard:
			canonical = append(canonical, "*."+name)
		default:
			canonical = append(canonical, name)
		}
	}
	if slices.Equal(canonical, patterns) {
		return patterns
	}
	return canonical
}

// boundedText leaves out the lines after maxPolicyText octets.
func boundedText(lines []string) []string {
	size := 0
	for i, line := range lines {
		if size += len(line) + 1; size > maxPolicyText {
			return lines[:i]
		}
	}
	return lines
}

// clonePolicy returns a copy whose texts are next to each other in memory, because a
// comparison with a policy that was not used recently mostly waits for memory.
func clonePolicy(p tlsrpt.Policy) tlsrpt.Policy {
	list := slices.Concat([]string{p.Domain}, p.Strings, p.MXHosts)
	cloneTogether(list)
	n := 1 + len(p.Strings)
	p.Domain, p.Strings, p.MXHosts = list[0], orNil(list[1:n:n]), orNil(list[n:])
	return p
}

// orNil returns nil for an empty list.
func orNil(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

// cloneDetail does the same for a detail.
func cloneDetail(d report.Detail) report.Detail {
	list := []string{d.MXHost, d.HELO, d.ReasonCode, d.Info}
	cloneTogether(list)
	d.MXHost, d.HELO, d.ReasonCode, d.Info = list[0], list[1], list[2], list[3]
	return d
}

// cloneTogether replaces texts by parts of one text.
func cloneTogether(list []string) {
	text := strings.Join(list, "")
	for i, s := range list {
		list[i], text = text[:len(s)], text[len(s):]
	}
}

// canonicalDetail returns d in a form that a report may have.
func canonicalDetail(d report.Detail) report.Detail {
	if !d.Type.Valid() {
		d.Type = tlsrpt.ValidationFailure
	}
	d.SendingIP, d.ReceivingIP = canonicalAddr(d.SendingIP), canonicalAddr(d.ReceivingIP)
	if name, err := names.Canonical(d.MXHost); err == nil {
		d.MXHost = name
	} else {
		d.MXHost = names.Mask(d.MXHost, maxHostText)
	}
	d.HELO = names.Mask(d.HELO, maxHostText)
	d.ReasonCode = names.Mask(d.ReasonCode, tlsrpt.MaxReasonCode)
	if d.Info != "" && !syntax.IsURI(d.Info) {
		d.Info = ""
	}
	return d
}

func canonicalAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
