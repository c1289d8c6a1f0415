package dane

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// Route is how a sender found a host. The zero Route is that of a host found
// through an insecure MX RRset.
type Route struct {
	// Secure is true if the host was found through a secure MX RRset behind
	// secure aliases only, if the absence of an MX RRset is proven, or if the
	// operator configured the host.
	Secure bool
	// NextHop is the recipient domain, or the domain that the operator routes
	// its mail to: the name whose MX RRset was looked up.
	NextHop string
	// Expanded is the name that has the MX RRset if NextHop is an alias of it;
	// empty otherwise.
	Expanded string
}

// ReferenceNames returns the reference identifiers of RFC 7672 section 3.2.2. A
// DANE-TA record authenticates only a certificate for one of them. The TLSA base
// domain comes first. The next-hop domain and its expansion follow if the route is
// secure. Aliases between them do not count. The names are in lower case, without
// final dot and without duplicates.
func ReferenceNames(baseDomain string, route Route) []string {
	references := []string{names.Fold(baseDomain)}
	if !route.Secure {
		return references
	}
	for _, name := range []string{route.NextHop, route.Expanded} {
		name = names.Fold(name)
		if name != "" && !slices.Contains(references, name) {
			references = append(references, name)
		}
	}
	return references
}

// matchNames returns the first of the reference identifiers that the certificate
// at the start of the path is for (RFC 7672 section 3.2.3).
func matchNames(path []*x509.Certificate, references []string) (string, *fault) {
	leaf := path[0]
	presented, inSubject := leaf.DNSNames, false
	if len(presented) == 0 {
		presented, inSubject = commonNames(leaf), true
	}
	for _, name := range references {
		reference := names.Fold(name)
		if !slices.ContainsFunc(presented, func(p string) bool { return matchName(p, reference) }) {
			continue
		}
		// Name constraints apply to alternative names. A common name that
		// stands in for one must not escape them.
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

// commonNames returns the common names of the subject. They stand in for DNS-IDs
// if there are none (RFC 7672 section 3.2.3).
func commonNames(cert *x509.Certificate) []string {
	var common []string
	for _, attribute := range cert.Subject.Names {
		if attribute.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			if name, ok := attribute.Value.(string); ok {
				common = append(common, name)
			}
		}
	}
	return common
}

// matchName reports whether a name in a certificate is the reference, which is in
// lower case, or a wildcard for it. A wildcard is the whole first label, stands
// for exactly one label, and at least two labels follow it (RFC 7672 section
// 3.2.3).
func matchName(presented, reference string) bool {
	if !names.IsDomain(reference) {
		return false
	}
	if parent, ok := strings.CutPrefix(presented, "*."); ok {
		_, rest, _ := strings.Cut(reference, ".")
		return strings.Contains(rest, ".") && names.EqualFold(parent, rest)
	}
	return names.EqualFold(presented, reference)
}
