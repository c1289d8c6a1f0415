// Package anchor reads trust anchors: the DS and DNSKEY records of a configuration, of
// files, and those of the root zone that IANA publishes.
package anchor

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// Root returns the root zone's key signing keys as IANA publishes them
// (https://data.iana.org/root-anchors/root-anchors.xml): KSK-2017, key tag 20326, and
// KSK-2024, key tag 38696, which has signed since 2026-10-11. IANA plans to change the key
// every three years: the keys suffice until 2029-10-11 at least. A key is published long
// before it signs (RFC 5011 section 2.4.1). .ci/anchors warns of both.
func Root() []dns.RR {
	ds := func(tag uint16, digest string) dns.RR {
		return &dns.DS{
			Hdr:    dns.RR_Header{Name: ".", Rrtype: dns.TypeDS, Class: dns.ClassINET},
			KeyTag: tag, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: digest,
		}
	}
	return []dns.RR{
		ds(20326, "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"),
		ds(38696, "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"),
	}
}

// Set maps the name of a zone to its trust anchors, as DS records.
type Set map[string][]*dns.DS

// New returns the anchors in text and in file, or those of Root if both are empty. With
// sha1, anchors of algorithms that use SHA-1 count. It returns an error if there is no
// anchor whose algorithm is supported.
func New(text, file string, sha1 bool) (Set, error) {
	records, err := parse(strings.NewReader(text), "Config.Anchors")
	if err != nil {
		return nil, err
	}
	if text == "" && file == "" {
		records = Root()
	}
	if file != "" {
		more, err := ReadFile(file)
		if err != nil {
			return nil, err
		}
		records = append(more, records...)
	}
	a := make(Set)
	for _, rr := range records {
		ds, err := anchorDS(rr, sha1)
		if err != nil {
			return nil, err
		}
		if ds != nil {
			a[ds.Hdr.Name] = append(a[ds.Hdr.Name], ds)
		}
	}
	if len(a) == 0 {
		return nil, errors.New("no usable trust anchor: without one every domain is insecure and DANE is off; " +
			"leave Anchors and AnchorFile unset to use the root keys that IANA publishes")
	}
	return a, nil
}

// OfIANA reports whether a root key that IANA publishes is trusted, by default or
// by configuration. Names then have their public meaning.
func (a Set) OfIANA() bool {
	return slices.ContainsFunc(a["."], func(ds *dns.DS) bool {
		return slices.ContainsFunc(Root(), func(rr dns.RR) bool {
			return rr.(*dns.DS).DigestType == ds.DigestType && strings.EqualFold(rr.(*dns.DS).Digest, ds.Digest)
		})
	})
}

// Between reports whether there is a trust anchor below zone and at name or above it.
// The name is within zone. What zone and the zones above it sign about names at and
// below that anchor does not count.
func (a Set) Between(zone, name string) bool {
	for name != zone && name != "." {
		if len(a[name]) > 0 {
			return true
		}
		name = proof.Parent(name)
	}
	return false
}

// anchorDS returns the anchor as a DS record, or nil if its algorithm or digest is not
// supported.
func anchorDS(rr dns.RR, sha1 bool) (*dns.DS, error) {
	name, ok := proof.CanonicalName(rr.Header().Name)
	if !ok {
		return nil, fmt.Errorf("trust anchor with the invalid name %q", rr.Header().Name)
	}
	var ds *dns.DS
	switch rr := rr.(type) {
	case *dns.DS:
		ds = dns.Copy(rr).(*dns.DS)
	case *dns.DNSKEY:
		if rr.Flags&dns.REVOKE != 0 || rr.Flags&dns.ZONE == 0 || rr.Protocol != 3 {
			return nil, fmt.Errorf("trust anchor of %q with key tag %d is revoked or not a zone key", name, rr.KeyTag())
		}
		if ds = rr.ToDS(dns.SHA256); ds == nil || proof.SupportsAlgorithm(rr.Algorithm, sha1) && !proof.HasPublicKey(rr) {
			return nil, fmt.Errorf("trust anchor of %q is malformed", name)
		}
	default:
		return nil, fmt.Errorf("trust anchor of %q is neither a DS nor a DNSKEY record", name)
	}
	ds.Hdr.Name = name
	if !proof.SupportsAlgorithm(ds.Algorithm, sha1) || proof.DigestSize(ds.DigestType) == 0 {
		return nil, nil
	}
	if digest, err := hex.DecodeString(ds.Digest); err != nil || len(digest) != proof.DigestSize(ds.DigestType) {
		return nil, fmt.Errorf("trust anchor of %q with key tag %d has a malformed digest", name, ds.KeyTag)
	}
	return ds, nil
}

// ReadFile reads the DS and DNSKEY records of a file in zone-file syntax.
// Software for RFC 5011 keeps other records and revoked keys in such files, so these
// are ignored.
func ReadFile(name string) ([]dns.RR, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("trust anchors: %w", err)
	}
	defer f.Close()
	records, err := parse(f, name)
	records = slices.DeleteFunc(records, func(rr dns.RR) bool {
		key, isKey := rr.(*dns.DNSKEY)
		return isKey && key.Flags&dns.REVOKE != 0 || !isKey && rr.Header().Rrtype != dns.TypeDS
	})
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("trust anchors: %q has no DS or DNSKEY record", name)
	}
	return records, err
}

// notTrusted reports whether unbound marked an anchor in a comment as not yet, or no
// longer, trusted (RFC 5011 section 4.2: START, ADDPEND, REVOKED and REMOVED).
func notTrusted(comment string) bool {
	for _, state := range []string{"0", "1", "4", "5"} {
		if strings.Contains(comment, ";state="+state+" ") {
			return true
		}
	}
	return false
}

// parse reads records in zone-file syntax. Keys that are marked as not trusted
// are ignored.
func parse(r io.Reader, name string) ([]dns.RR, error) {
	parser := dns.NewZoneParser(io.LimitReader(r, 1<<20), ".", name)
	parser.SetDefaultTTL(0)
	var records []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if !notTrusted(parser.Comment()) {
			records = append(records, rr)
		}
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("trust anchors: %w", err)
	}
	return records, nil
}
