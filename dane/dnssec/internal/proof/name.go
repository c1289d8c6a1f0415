package proof

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"
)

// Names in this package and in package dnssec are canonical: fully qualified, in
// lower case, and escaped in the one way in which the dns package prints them.
// Two names are equal if their strings are equal. Everything else is compared
// label by label, because a dot may be escaped and a suffix need not begin at a
// label.

// CanonicalName returns name in canonical form, or false if it is not a domain
// name.
func CanonicalName(name string) (string, bool) {
	switch {
	case name == ".":
		return name, true
	case name == "":
		return "", false
	case isPlain(name):
		return dns.Fqdn(name), true
	}
	var wire [256]byte
	n, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false)
	if err != nil || n > 255 {
		return "", false
	}
	unpacked, _, err := dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		return "", false
	}
	return dns.CanonicalName(unpacked), true
}

// isPlain reports whether name needs no conversion except for the final dot. It
// does not allocate, because cached lookups depend on it.
func isPlain(name string) bool {
	if len(name) > 253 {
		return false
	}
	label := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if label == 0 || label > 63 {
				return false
			}
			label = 0
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '*':
			label++
		default:
			return false
		}
	}
	return label <= 63
}

// Parent returns name without its first label. The parent of the root is the
// root.
func Parent(name string) string {
	for i := 0; i < len(name)-1; i++ {
		switch name[i] {
		case '\\':
			i++ // the escaped character, or the first of three digits
		case '.':
			return name[i+1:]
		}
	}
	return "."
}

// Within reports whether name is zone or below it.
func Within(name, zone string) bool {
	for len(name) >= len(zone) {
		if name == zone {
			return true
		}
		if name == "." {
			return false
		}
		name = Parent(name)
	}
	return zone == "."
}

// Below reports whether name is below zone, and not zone itself.
func Below(name, zone string) bool { return name != zone && Within(name, zone) }

// countLabels returns the number of labels, not counting the root label.
func countLabels(name string) int {
	n := 0
	for name != "." {
		n++
		name = Parent(name)
	}
	return n
}

// signedLabels returns the value of the Labels field for name (RFC 4034 section
// 3.1.3), which does not count a leading asterisk label either.
func signedLabels(name string) int {
	n := countLabels(name)
	if isWildcard(name) {
		n--
	}
	return n
}

func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// WildcardOf returns the wildcard name at encloser.
func WildcardOf(encloser string) string {
	if encloser == "." {
		return "*."
	}
	return "*." + encloser
}

// lastLabels returns the ancestor of name that has n labels.
func lastLabels(name string, n int) string {
	for have := countLabels(name); have > n; have-- {
		name = Parent(name)
	}
	return name
}

// Ancestors returns the root, each name on the way down to name, and name
// itself.
func Ancestors(name string) []string {
	n := countLabels(name)
	path := make([]string, n+1)
	for i := n; i >= 0; i-- {
		path[i] = name
		name = Parent(name)
	}
	return path
}

// commonAncestor returns the longest name that both names are within.
func commonAncestor(a, b string) string {
	for !Within(b, a) {
		a = Parent(a)
	}
	return a
}

// CompareNames orders names as in RFC 4034 section 6.1: label by label from
// the right, each as an unsigned octet string.
func CompareNames(a, b string) int {
	x, y := wireLabels(a), wireLabels(b)
	for i := 1; i <= len(x) && i <= len(y); i++ {
		if c := bytes.Compare(x[len(x)-i], y[len(y)-i]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// wireName returns the uncompressed wire form of a canonical name.
func wireName(name string) []byte {
	wire := make([]byte, len(name)+1, len(name)+1+10) // room for what most callers append
	n, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil // not reached: canonical names were packed before
	}
	return wire[:n]
}

func wireLabels(name string) [][]byte {
	var labels [][]byte
	wire := wireName(name)
	for len(wire) > 0 && wire[0] != 0 {
		end := 1 + int(wire[0])
		labels = append(labels, wire[1:end])
		wire = wire[end:]
	}
	return labels
}

// IsWireName reports whether data is a sequence of labels up to the root label,
// without compression (RFC 1035 section 3.1).
func IsWireName(data []byte) bool {
	for len(data) > 0 && 0 < data[0] && data[0] < 64 {
		data = data[min(1+int(data[0]), len(data)):]
	}
	return len(data) == 1 && data[0] == 0
}
