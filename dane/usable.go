package dane

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// Verifier selects and verifies records under a local policy for digests. The
// zero Verifier has the policy that [Select] and [Verify] use.
type Verifier struct {
	// Digests are the accepted digests, the strongest first (RFC 7671 section
	// 9). nil means SHA2-512, then SHA2-256. A record is unusable if its digest is
	// not listed, or if the package of the hash function is not linked into the
	// program.
	Digests []Digest
}

// Digest is a matching type and its hash function.
type Digest struct {
	Type MatchingType // never Full
	Hash crypto.Hash
}

// Select returns the records to verify with, in the given order: the usable ones
// and, of several digests of one usage and selector, only those of the strongest
// (RFC 7671 section 9). If there are records and none is left, the session must be
// encrypted and the server cannot be authenticated (RFC 7672 section 2.2).
//
// The slice is new. The data is shared with the argument.
func Select(records []Record) []Record { return Verifier{}.Select(records) }

// Select is like [Select] under the policy of v.
func (v Verifier) Select(records []Record) []Record {
	// Digest agility applies to usable records only (RFC 7671 section 9): a
	// malformed strong digest must not hide a good weaker one.
	var usable []Record
	for i := range records {
		if v.unusable(&records[i]) == nil {
			usable = append(usable, records[i])
		}
	}
	strongest := v.strongest(usable)
	var selected []Record
	for i := range usable {
		if strongest.keeps(v, &usable[i]) {
			selected = append(selected, usable[i])
		}
	}
	return selected
}

// unusable returns the reason why a record cannot be used (RFC 6698 section 4.1,
// RFC 7672 section 3.1.3), or nil.
func (v Verifier) unusable(r *Record) *fault {
	switch {
	case r.Usage == PKIXTA || r.Usage == PKIXEE:
		return unusablef("usage %v is not for mail", r.Usage)
	case r.Usage > DANEEE:
		return unusablef("unknown usage %v", r.Usage)
	case r.Selector > SPKI:
		return unusablef("unknown selector %v", r.Selector)
	case r.MatchingType == Full && r.Selector == Cert:
		if _, err := x509.ParseCertificate(r.Data); err != nil {
			return unusablef("the data is not a certificate")
		}
		return nil
	case r.MatchingType == Full:
		if !isPublicKeyInfo(r.Data) {
			return unusablef("the data is not a SubjectPublicKeyInfo")
		}
		return nil
	}
	_, hash := v.digest(r.MatchingType)
	if hash == 0 {
		return unusablef("unknown or disabled matching type %v", r.MatchingType)
	}
	if len(r.Data) != hash.Size() {
		return unusablef("the data has %d octets, a digest of matching type %v has %d", len(r.Data), r.MatchingType, hash.Size())
	}
	return nil
}

func unusablef(format string, args ...any) *fault {
	return &fault{reason: unusable, detail: "unusable: " + fmt.Sprintf(format, args...)}
}

// isPublicKeyInfo reports whether der is a SubjectPublicKeyInfo (RFC 5280 section
// 4.1). The algorithm may be unknown: a DANE-EE record is compared octet by octet.
func isPublicKeyInfo(der []byte) bool {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &info)
	return err == nil && len(rest) == 0
}

// digest returns the hash function of a matching type and its rank. A stronger
// digest has a higher rank. Both are 0 if the type is Full or not accepted.
func (v Verifier) digest(m MatchingType) (rank int, hash crypto.Hash) {
	if v.Digests == nil {
		switch m {
		case SHA256:
			return 1, crypto.SHA256
		case SHA512:
			return 2, crypto.SHA512
		}
		return 0, 0
	}
	for i, d := range v.Digests {
		if d.Type == m && m != Full && d.Hash.Available() {
			return len(v.Digests) - i, d.Hash
		}
	}
	return 0, 0
}

// sum returns the digest of data.
func sum(hash crypto.Hash, data []byte) []byte {
	switch hash {
	case crypto.SHA256:
		digest := sha256.Sum256(data)
		return digest[:]
	case crypto.SHA512:
		digest := sha512.Sum512(data)
		return digest[:]
	}
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// strengths has the rank of the strongest digest for each usage (DANE-TA,
// DANE-EE) and selector.
type strengths [2][2]int

// strongest returns the strongest digest of each usage and selector. A digest of
// the wrong length does not count.
func (v Verifier) strongest(records []Record) strengths {
	var s strengths
	for i := range records {
		r := &records[i]
		if !grouped(r) {
			continue
		}
		rank, hash := v.digest(r.MatchingType)
		if rank == 0 || len(r.Data) != hash.Size() {
			continue
		}
		best := &s[r.Usage-DANETA][r.Selector]
		*best = max(*best, rank)
	}
	return s
}

// keeps reports whether digest agility keeps a record: one of the strongest
// digest, and always one of type Full, which does not depend on a digest (RFC 7671
// section 9).
func (s *strengths) keeps(v Verifier, r *Record) bool {
	if !grouped(r) {
		return false
	}
	if r.MatchingType == Full {
		return true
	}
	rank, hash := v.digest(r.MatchingType)
	return rank != 0 && rank == s[r.Usage-DANETA][r.Selector] && len(r.Data) == hash.Size()
}

// grouped reports whether mail uses the usage and the selector.
func grouped(r *Record) bool {
	return (r.Usage == DANETA || r.Usage == DANEEE) && r.Selector <= SPKI
}
