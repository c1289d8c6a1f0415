package dane

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
)

// candidate is a certificate that records are compared with. It keeps the digests
// of its parts, so that each is computed once for all records.
type candidate struct {
	cert  *x509.Certificate
	parts [2]digests // by selector
}

type digests struct {
	has256, has512 bool
	sum256         [sha256.Size]byte
	sum512         [sha512.Size]byte
}

// matches reports whether a record matches the certificate (RFC 6698 sections 2.1.2 and
// 2.1.3). The caller has checked that digest agility keeps the record.
func (c *candidate) matches(v Verifier, r *Record) bool {
	part := c.cert.Raw
	if r.Selector == SPKI {
		part = c.cert.RawSubjectPublicKeyInfo
	}
	if r.MatchingType == Full {
		return len(part) != 0 && bytes.Equal(part, r.Data)
	}
	d := &c.parts[r.Selector]
	switch _, hash := v.digest(r.MatchingType); hash {
	case 0:
		return false
	case crypto.SHA256:
		if !d.has256 {
			d.sum256, d.has256 = sha256.Sum256(part), true
		}
		return bytes.Equal(d.sum256[:], r.Data)
	case crypto.SHA512:
		if !d.has512 {
			d.sum512, d.has512 = sha512.Sum512(part), true
		}
		return bytes.Equal(d.sum512[:], r.Data)
	default:
		return bytes.Equal(sum(hash, part), r.Data)
	}
}
