package dnstree

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxName is the length limit of a name in octets (RFC 1035 section 2.3.4). IsDomainName of
// the dns package permits two more.
const maxName = 255

// canonical returns name in the form that the tree uses: lower case, with a
// final dot, and escaped as in the dns package.
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

// parent returns name without its first label. The parent of the root is the
// root.
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

// child returns name with label prepended.
func child(label, name string) string {
	if name == "." {
		return label + "."
	}
	return label + "." + name
}

// nextCloser returns the ancestor of name, or name itself, that has one label
// more than encloser (RFC 5155 section 1.3).
func nextCloser(name, encloser string) string {
	labels := dns.CountLabel(encloser) + 1
	for dns.CountLabel(name) > labels {
		name = parent(name)
	}
	return name
}

// sortKey returns a string whose byte order is the canonical order of names
// (RFC 4034 section 6.1). It contains the labels from the root down, each with
// a terminator that sorts before all octets.
func sortKey(name string) string {
	wire := make([]byte, 256)
	if _, err := dns.PackDomainName(name, wire, 0, nil, false); err != nil {
		panic(err) // cannot fail for a canonical name
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
