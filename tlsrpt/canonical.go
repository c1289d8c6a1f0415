package tlsrpt

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxHostText bounds the names that mail hosts give themselves.
const maxHostText = 255

// canonicalPolicy returns p as a report may have it. domain is the recipient
// domain, which stands in for a policy domain that is none. A policy that is
// canonical comes back with the same slices.
func canonicalPolicy(p Policy, domain string) Policy {
	if p.Domain = canonicalName(p.Domain); p.Domain == "" {
		p.Domain = domain
	}
	switch p.Type {
	case STS:
		p.MXHosts = canonicalPatterns(p.MXHosts)
	case TLSA:
		p.MXHosts = nil
		if !slices.IsSorted(p.Strings) { // DNS has records in any order
			p.Strings = slices.Sorted(slices.Values(p.Strings))
		}
	default:
		p.Type, p.Strings, p.MXHosts = NoPolicyFound, nil, nil
	}
	p.Strings = boundedText(validText(p.Strings))
	return p
}

// validText has lines in UTF-8, which is what JSON can say (RFC 7493 section
// 2.1): a policy must look the same before it was stored and after.
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

// canonicalPatterns leaves out what is no pattern.
func canonicalPatterns(patterns []string) []string {
	canonical := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		name, isWildcard := strings.CutPrefix(pattern, "*.")
		name = canonicalName(name)
		switch {
		case name == "":
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

// boundedText leaves out what is too much.
func boundedText(lines []string) []string {
	size := 0
	for i, line := range lines {
		if size += len(line) + 1; size > maxPolicyText {
			return lines[:i]
		}
	}
	return lines
}

func clonePolicy(p Policy) Policy {
	p.Domain = strings.Clone(p.Domain)
	p.Strings = cloneStrings(p.Strings)
	p.MXHosts = cloneStrings(p.MXHosts)
	return p
}

func cloneStrings(list []string) []string {
	var cloned []string
	for _, s := range list {
		cloned = append(cloned, strings.Clone(s))
	}
	return cloned
}

// canonicalDetail returns d as a report may have it.
func canonicalDetail(d Detail) Detail {
	if !d.Type.Valid() {
		d.Type = ValidationFailure
	}
	d.SendingIP, d.ReceivingIP = canonicalAddr(d.SendingIP), canonicalAddr(d.ReceivingIP)
	if name := canonicalName(d.MXHost); name != "" {
		d.MXHost = name
	} else {
		d.MXHost = printable(d.MXHost, maxHostText)
	}
	d.HELO = printable(d.HELO, maxHostText)
	d.ReasonCode = sanitize(d.ReasonCode)
	if d.Info != "" && !isURI(d.Info) {
		d.Info = ""
	}
	return d
}

func canonicalAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
