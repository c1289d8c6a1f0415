// Package testpki makes certificates for tests, good ones and bad ones.
package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// Now is a moment at which all certificates are valid that nothing was changed
// about: a year after their first and a year before their last.
var Now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// Year is a step that takes Now out of a certificate's life, with some days to
// spare.
const Year = 370 * 24 * time.Hour

// Entity is somebody with a key and a certificate for it.
type Entity struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Change makes something about a certificate different from the usual.
type Change func(template *x509.Certificate)

// Root makes an authority that signed itself.
func Root(t testing.TB, name string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, nil, newKey(t), authority(name), changes)
}

// Authority makes an authority below e.
func (e *Entity) Authority(t testing.TB, name string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, e, newKey(t), authority(name), changes)
}

// Again makes another certificate for the name and key of the authority other,
// signed by e: a cross-certificate or, if e is the other, a renewed root.
func (e *Entity) Again(t testing.TB, other *Entity, changes ...Change) *Entity {
	t.Helper()
	return issue(t, e, other.Key, authority(other.Cert.Subject.CommonName), changes)
}

// Rollover makes an authority of the same name with a new key, signed by e.
func (e *Entity) Rollover(t testing.TB, changes ...Change) *Entity {
	t.Helper()
	template := authority(e.Cert.Subject.CommonName)
	template.AuthorityKeyId = e.Cert.SubjectKeyId // or it would look self-signed
	return issue(t, e, newKey(t), template, changes)
}

// Server makes a server below e with a certificate for DNS names.
func (e *Entity) Server(t testing.TB, names []string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, e, newKey(t), server(names), changes)
}

// SelfSigned makes a server that signed its own certificate.
func SelfSigned(t testing.TB, names []string, changes ...Change) *Entity {
	t.Helper()
	return issue(t, nil, newKey(t), server(names), changes)
}

// Chain returns the certificates of some entities.
func Chain(entities ...*Entity) []*x509.Certificate {
	chain := make([]*x509.Certificate, len(entities))
	for i, e := range entities {
		chain[i] = e.Cert
	}
	return chain
}

// Version1 makes the certificate of e again as it would have been before there
// were extensions, signed by itself, or by issuer if that is not nil.
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

// WithKey makes an authority that signed itself with a key of some other kind
// than ECDSA over P-256.
func WithKey(t testing.TB, name string, key crypto.Signer, changes ...Change) *Entity {
	t.Helper()
	return issue(t, nil, key, authority(name), changes)
}

func newKey(t testing.TB) crypto.Signer {
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

// Expired ends the certificate's life before Now.
func Expired(c *x509.Certificate) { c.NotAfter = Now.Add(-time.Hour) }

// NotYetValid begins the certificate's life after Now.
func NotYetValid(c *x509.Certificate) { c.NotBefore = Now.Add(time.Hour) }

// PathLen limits how many authorities may follow.
func PathLen(n int) Change {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

// NotCA says in so many words that this is no authority.
func NotCA(c *x509.Certificate) { c.IsCA, c.MaxPathLen = false, 0 }

// NoBasicConstraints leaves out the extension that makes an authority.
func NoBasicConstraints(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false }

// KeyUsage sets the key usages.
func KeyUsage(usage x509.KeyUsage) Change {
	return func(c *x509.Certificate) { c.KeyUsage = usage }
}

// ExtKeyUsage sets the extended key usages.
func ExtKeyUsage(usages ...x509.ExtKeyUsage) Change {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
}

// CommonName sets the name in the subject.
func CommonName(name string) Change {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

// Permit constrains the DNS names below an authority.
func Permit(domains ...string) Change {
	return func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = domains, true }
}

// Exclude forbids DNS names below an authority.
func Exclude(domains ...string) Change {
	return func(c *x509.Certificate) { c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = domains, true }
}

// Signature sets the algorithm that the certificate is signed with.
func Signature(algorithm x509.SignatureAlgorithm) Change {
	return func(c *x509.Certificate) { c.SignatureAlgorithm = algorithm }
}

// Critical adds a critical extension that nobody knows.
func Critical(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
		Id: []int{1, 3, 6, 1, 4, 1, 32473, 1}, Critical: true, Value: []byte{5, 0},
	})
}
