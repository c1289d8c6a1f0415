package dane

import (
	"crypto/x509"
	"strconv"
	"strings"
)

// NewRecord returns the record to publish for a certificate: the server's own for
// DANEEE, its issuer's for DANETA. RFC 7672 section 3.1.1 recommends DANEEE, SPKI
// and SHA256; such a record stays valid if the certificate is renewed with the same
// key. A record that senders of mail cannot use is an [*Error] for [ErrRecord].
func NewRecord(cert *x509.Certificate, usage Usage, selector Selector, matchingType MatchingType) (Record, error) {
	if cert == nil {
		return Record{}, malformed("there is no certificate")
	}
	var part []byte
	switch selector {
	case Cert:
		part = cert.Raw
	case SPKI:
		part = cert.RawSubjectPublicKeyInfo
	}
	record := Record{Usage: usage, Selector: selector, MatchingType: matchingType}
	if matchingType == Full {
		record.Data = append([]byte(nil), part...)
	} else if _, hash := (Verifier{}).digest(matchingType); hash != 0 {
		record.Data = sum(hash, part)
	}
	if why := (Verifier{}).unusable(&record); why != nil {
		return Record{}, malformed("it would be %w", why)
	}
	return record, nil
}

// RecordName returns the name of the TLSA records for a TCP port of a host (RFC
// 6698 section 3), with a final dot, such as "_25._tcp.mx.example.org.". The host
// is in A-labels, with or without final dot.
func RecordName(host string, port uint16) string {
	return "_" + strconv.Itoa(int(port)) + "._tcp." + strings.TrimSuffix(host, ".") + "."
}
