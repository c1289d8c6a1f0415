package dnstree

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// key is the only key of a zone. It is both KSK and ZSK.
type key struct {
	record *dns.DNSKEY
	signer crypto.Signer // nil for an unknown algorithm, whose signatures are random
}

// newKey generates a key. It generates another one if the key tag is 0, because
// the dns package does not sign with such a key.
func newKey(zone string, algorithm uint8) *key {
	for {
		if k := randomKey(zone, algorithm); k.record.KeyTag() != 0 {
			return k
		}
	}
}

func randomKey(zone string, algorithm uint8) *key {
	k := &key{record: &dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: ttl},
		Flags:     dns.ZONE | dns.SEP,
		Protocol:  3,
		Algorithm: algorithm,
	}}
	bits := 0
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		bits = 1024 // the minimum of RSASHA512, for speed
	case dns.ECDSAP256SHA256, dns.ED25519:
		bits = 256
	case dns.ECDSAP384SHA384:
		bits = 384
	default:
		k.record.PublicKey = base64.StdEncoding.EncodeToString(noise(32))
		return k
	}
	private, err := k.record.Generate(bits)
	if err != nil {
		panic(fmt.Sprintf("dnstree: key for algorithm %d: %v", algorithm, err))
	}
	k.signer = private.(crypto.Signer)
	return k
}

// sign returns the signature of an RRset with the given inception and
// expiration.
func (k *key) sign(set []dns.RR, from, until time.Time) *dns.RRSIG {
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Ttl: set[0].Header().Ttl},
		Algorithm:  k.record.Algorithm,
		KeyTag:     k.record.KeyTag(),
		SignerName: k.record.Hdr.Name,
		Inception:  uint32(from.Unix()),
		Expiration: uint32(until.Unix()),
	}
	err := sig.Sign(k.signer, set)
	if k.signer == nil {
		sig.Signature, err = base64.StdEncoding.EncodeToString(noise(64)), nil
	}
	if err != nil {
		panic(fmt.Sprintf("dnstree: signing %s: %v", set[0].Header().Name, err))
	}
	return sig
}

// ds returns the DS records of the zone: one for each key and digest type.
func (z *Zone) ds() []dns.RR {
	var records []dns.RR
	for _, k := range z.keys {
		for _, digest := range z.digests {
			if slices.Contains([]uint8{dns.SHA1, dns.SHA256, dns.SHA384}, digest) {
				records = append(records, k.record.ToDS(digest))
				continue
			}
			// A SHA-256 digest would be accepted if the type were treated as
			// SHA-256.
			ds := k.record.ToDS(dns.SHA256)
			ds.DigestType = digest
			records = append(records, ds)
		}
	}
	return records
}

// secure reports whether a validator that supports the common algorithms can
// build a chain of trust to the zone.
func (z *Zone) secure() bool {
	known := slices.ContainsFunc(z.keys, func(k *key) bool { return k.signer != nil })
	return known && (z.name == "." || !z.undelegated && z.tree.above(z.name).secure())
}

func noise(n int) []byte {
	octets := make([]byte, n)
	rand.Read(octets)
	return octets
}
