package dnstree

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// canonical returns name in the one form under which the tree keeps it: lower
// case, with a final dot, and escaped in the manner of the dns package.
func canonical(name string) string {
	wire := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), wire, 0, nil, false)
	if err != nil {
		panic(fmt.Sprintf("dnstree: domain name %q: %v", name, err))
	}
	name, _, err = dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		panic(fmt.Sprintf("dnstree: domain name %q: %v", name, err))
	}
	return strings.ToLower(name)
}

// parent returns name without its first label; that of the root is the root.
func parent(name string) string {
	if next, end := dns.NextLabel(name, 0); !end {
		return name[next:]
	}
	return "."
}

// isBelow reports whether name is a proper descendant of ancestor.
func isBelow(name, ancestor string) bool {
	return name != ancestor && dns.IsSubDomain(ancestor, name)
}

// child returns the name with one more label in front.
func child(label, name string) string {
	if name == "." {
		return label + "."
	}
	return label + "." + name
}

// nextCloser returns the ancestor of name (or name itself) with one label more
// than encloser (RFC 5155 section 1.3).
func nextCloser(name, encloser string) string {
	labels := dns.CountLabel(encloser) + 1
	for dns.CountLabel(name) > labels {
		name = parent(name)
	}
	return name
}

// sortKey returns a string such that the byte order of sort keys is the
// canonical order of the names (RFC 4034 section 6.1): the labels as octets from
// the root down, each with an end that sorts before any octet.
func sortKey(name string) string {
	wire := make([]byte, 256)
	if _, err := dns.PackDomainName(name, wire, 0, nil, false); err != nil {
		panic(err) // name is canonical, so it packs
	}
	var labels []string
	for wire[0] != 0 {
		end := 1 + int(wire[0])
		labels = append(labels, strings.ReplaceAll(string(wire[1:end]), "\x00", "\x00\xff")+"\x00\x00")
		wire = wire[end:]
	}
	slices.Reverse(labels)
	return strings.Join(labels, "")
}
