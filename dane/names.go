package dane

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
)

// Route says how a sender came to a host.  The zero Route is that of a host
// found through an insecure MX RRset.
type Route struct {
	// Secure says that the host was found securely: through a secure MX RRset
	// with only secure aliases before it, because a secure denial shows that
	// there is none, or because the operator named it.
	Secure bool
	// NextHop is the domain that the mail is for, or that the operator routes
	// it to: the name whose MX RRset was asked for.
	NextHop string
	// Expanded is what NextHop is an alias of in the end, if it is one and
	// the MX RRset is there.
	Expanded string
}

// ReferenceNames returns the names of which a certificate must have one to be
// authenticated by a DANE-TA record (RFC 7672 section 3.2.2): the TLSA base
// domain first; then, if the route to the host is secure, the next-hop domain
// and its expansion. Names in between, over which an alias leads, are not among
// them. The names are in lower case, without final dot and without duplicates.
func ReferenceNames(baseDomain string, route Route) []string {
	names := []string{canonical(baseDomain)}
	if !route.Secure {
		return names
	}
	for _, name := range []string{route.NextHop, route.Expanded} {
		name = canonical(name)
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// canonical is a name in lower case without final dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// matchNames returns the first of names that the certificate at the start of
// the path is for (RFC 7672 section 3.2.3).
func matchNames(path []*x509.Certificate, names []string) (string, *fault) {
	leaf := path[0]
	presented, inSubject := leaf.DNSNames, false
	if len(presented) == 0 {
		presented, inSubject = commonNames(leaf), true
	}
	for _, name := range names {
		reference := canonical(name)
		if !slices.ContainsFunc(presented, func(p string) bool { return matchName(p, reference) }) {
			continue
		}
		// Constraints are for the alternative names; a name in the subject
		// that is used as one of them must not escape.
		if inSubject {
			for _, authority := range path[1:] {
				if !allows(authority, reference) {
					return "", &fault{reason: constrainedName, cert: authority}
				}
			}
		}
		return name, nil
	}
	return "", &fault{reason: wrongName, cert: leaf}
}

// commonNames returns the subject's common names, which stand in for DNS-IDs
// when there are none (RFC 7672 section 3.2.3).
func commonNames(cert *x509.Certificate) []string {
	var names []string
	for _, attribute := range cert.Subject.Names {
		if attribute.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			if name, ok := attribute.Value.(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// matchName reports whether a name in a certificate is the reference, which is
// canonical, or a wildcard for it. A wildcard is the whole first label, stands
// for one label, and is below at least two more (RFC 7672 section 3.2.3).
func matchName(presented, reference string) bool {
	if !isHostName(reference) {
		return false
	}
	if parent, ok := strings.CutPrefix(presented, "*."); ok {
		_, rest, _ := strings.Cut(reference, ".")
		return strings.Contains(rest, ".") && equalFold(parent, rest)
	}
	return equalFold(presented, reference)
}

// isHostName reports whether a name is made of letters, digits, hyphens and
// underscores, so that it can equal no presented name with anything else in it.
func isHostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}

// equalFold compares a presented name with one in lower case, with case folded
// in ASCII only: strings.EqualFold would take the Kelvin sign for a k.
func equalFold(presented, lower string) bool {
	if len(presented) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := presented[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
