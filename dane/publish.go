package dane

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// NewRecord returns the record to publish for a certificate: the server's own
// for DANEEE, its issuer's for DANETA. DANEEE, SPKI, SHA256 is what RFC 7672
// section 3.1.1 recommends; it stays valid when the certificate is renewed
// with the same key. Records that a sender of mail could not use are refused.
func NewRecord(cert *x509.Certificate, usage Usage, selector Selector, matchingType MatchingType) (Record, error) {
	if cert == nil {
		return Record{}, errors.New("dane: no certificate to make a TLSA record of")
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
		return Record{}, fmt.Errorf("dane: TLSA record would be %w", why)
	}
	return record, nil
}

// RecordName returns the name that the TLSA records of a host's service over
// TCP are at (RFC 6698 section 3), with a final dot: port 25 of mx.example.org
// gives "_25._tcp.mx.example.org.". An internationalized name must be given in
// A-labels.
func RecordName(host string, port uint16) string {
	return "_" + strconv.Itoa(int(port)) + "._tcp." + strings.TrimSuffix(host, ".") + "."
}
