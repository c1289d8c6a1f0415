// Package testpki creates valid and invalid certificates for tests.
package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// Now is a time at which all certificates are valid, unless a Change says
// otherwise. It is one year after NotBefore and one year before NotAfter.
var Now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// Year is longer than the time between Now and the end of a certificate's
// validity.
const Year = 370 * 24 * time.Hour

// Entity is a subject with its key and certificate.
type Entity struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Change changes the template of a certificate.
type Change func(template *x509.Certificate)

// Root returns a self-signed authority.
func Root(t testing.TB, name string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, nil, NewKey(t), authority(name), changes)
}

// Authority returns an authority whose certificate is signed by e.
func (e *Entity) Authority(t testing.TB, name string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, e, NewKey(t), authority(name), changes)
}

// Again returns another certificate for the name and key of the authority
// other, signed by e. It is a cross-certificate or, if e is other, a renewed
// root.
func (e *Entity) Again(t testing.TB, other *Entity, changes ...Change) *Entity {
	t.Helper()
	return issue(t, e, other.Key, authority(other.Cert.Subject.CommonName), changes)
}

// Rollover returns an authority with the same name as e and a new key, signed
// by e.
func (e *Entity) Rollover(t testing.TB, changes ...Change) *Entity {
	t.Helper()
	template := authority(e.Cert.Subject.CommonName)
	template.AuthorityKeyId = e.Cert.SubjectKeyId // otherwise it would look self-signed
	return issue(t, e, NewKey(t), template, changes)
}

// Server returns a server with a certificate for DNS names, signed by e.
func (e *Entity) Server(t testing.TB, names []string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, e, NewKey(t), server(names), changes)
}

// SelfSigned returns a server with a self-signed certificate.
func SelfSigned(t testing.TB, names []string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, nil, NewKey(t), server(names), changes)
}

// Chain returns the certificates of entities.
func Chain(entities ...*Entity) []*x509.Certificate {
	chain := make([]*x509.Certificate, len(entities))
	for i, e := range entities {
		chain[i] = e.Cert
	}
	return chain
}

// TLS returns the certificate and the key of e, with the certificates of issuers after
// its own, as a server presents them.
func (e *Entity) TLS(issuers ...*Entity) tls.Certificate {
	shown := tls.Certificate{Certificate: [][]byte{e.Cert.Raw}, PrivateKey: e.Key}
	for _, issuer := range issuers {
		shown.Certificate = append(shown.Certificate, issuer.Cert.Raw)
	}
	return shown
}

// Version1 returns e with an X.509 version 1 certificate, which has no
// extensions. It is signed by issuer or, if issuer is nil, self-signed.
func (e *Entity) Version1(t testing.TB, issuer *Entity) *Entity {
	t.Helper()
	var tbs struct {
		Version    int `asn1:"optional,explicit,default:0,tag:0"`
		Serial     *big.Int
		Algorithm  asn1.RawValue
		Issuer     asn1.RawValue
		Validity   asn1.RawValue
		Subject    asn1.RawValue
		PublicKey  asn1.RawValue
		Extensions asn1.RawValue `asn1:"optional,explicit,tag:3"`
	}
	if _, err := asn1.Unmarshal(e.Cert.RawTBSCertificate, &tbs); err != nil {
		t.Fatal(err)
	}
	if issuer == nil {
		issuer = e
	}
	tbs.Version, tbs.Extensions = 0, asn1.RawValue{}
	tbs.Issuer = asn1.RawValue{FullBytes: issuer.Cert.RawSubject}
	signed, err := asn1.Marshal(tbs)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(signed)
	signature, err := issuer.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: signed}, tbs.Algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Entity{Cert: cert, Key: e.Key}
}

// WithKey returns a self-signed authority with a key of another kind than ECDSA
// P-256.
func WithKey(t testing.TB, name string, key crypto.Signer, changes ...Change) *Entity {
	t.Helper()
	return issue(t, nil, key, authority(name), changes)
}

// NewKey returns a new ECDSA key on the curve P-256.
func NewKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func server(names []string) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"Test server"}},
		DNSNames:    names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func issue(t testing.TB, issuer *Entity, key crypto.Signer, template *x509.Certificate, changes []Change) *Entity {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore = Now.Add(-Year)
	template.NotAfter = Now.Add(Year)
	for _, change := range changes {
		change(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Entity{Cert: cert, Key: key}
}

// Expired makes the certificate expire before Now.
func Expired(c *x509.Certificate) { c.NotAfter = Now.Add(-time.Hour) }

// NotYetValid makes the certificate valid only after Now.
func NotYetValid(c *x509.Certificate) { c.NotBefore = Now.Add(time.Hour) }

// PathLen sets the maximum number of intermediate authorities.
func PathLen(n int) Change {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

// NotCA sets the basic constraints to "not a CA".
func NotCA(c *x509.Certificate) { c.IsCA, c.MaxPathLen = false, 0 }

// NoBasicConstraints omits the basic constraints extension.
func NoBasicConstraints(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false }

// KeyUsage sets the key usage.
func KeyUsage(usage x509.KeyUsage) Change {
	return func(c *x509.Certificate) { c.KeyUsage = usage }
}

// ExtKeyUsage sets the extended key usage.
func ExtKeyUsage(usages ...x509.ExtKeyUsage) Change {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
}

// CommonName sets the common name of the subject.
func CommonName(name string) Change {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

// Permit sets the permitted DNS domains of an authority.
func Permit(domains ...string) Change {
	return func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = domains, true }
}

// Exclude sets the excluded DNS domains of an authority.
func Exclude(domains ...string) Change {
	return func(c *x509.Certificate) { c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = domains, true }
}

// Signature sets the signature algorithm.
func Signature(algorithm x509.SignatureAlgorithm) Change {
	return func(c *x509.Certificate) { c.SignatureAlgorithm = algorithm }
}

// Critical adds an unknown critical extension.
func Critical(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
		Id: []int{1, 3, 6, 1, 4, 1, 32473, 1}, Critical: true, Value: []byte{5, 0},
	})
}
