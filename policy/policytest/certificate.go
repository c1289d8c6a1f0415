package policytest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// identity is a key and its certificate.
type identity struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// chain is what a server presents: its identity, and the certificate of the
// issuer, unless it is self-signed.
type chain struct {
	identity
	issuer *x509.Certificate
}

func (c *chain) certificates() []*x509.Certificate {
	if c.issuer == nil {
		return []*x509.Certificate{c.cert}
	}
	return []*x509.Certificate{c.cert, c.issuer}
}

func (c *chain) certificate() tls.Certificate {
	shown := tls.Certificate{PrivateKey: c.key, Leaf: c.cert}
	for _, cert := range c.certificates() {
		shown.Certificate = append(shown.Certificate, cert.Raw)
	}
	return shown
}

// authority is a root and the intermediate that issues its certificates.
type authority struct {
	root, issuer *identity
}

func newAuthority(name string) *authority {
	template := func(name string) *x509.Certificate {
		cert := newTemplate(name)
		cert.IsCA = true
		cert.KeyUsage = x509.KeyUsageCertSign
		cert.ExtKeyUsage = nil
		return cert
	}
	root := issue(template(name+" Root"), newKey(false), nil)
	return &authority{root: root, issuer: issue(template(name+" Issuer"), newKey(false), root)}
}

// newTemplate returns the template of a server certificate. It is valid from
// ten years ago until ten years from now.
func newTemplate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.AddDate(-10, 0, 0),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
}

func newKey(isRSA bool) (key crypto.Signer) {
	var err error
	if isRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		panic("policytest: " + err.Error())
	}
	return key
}

// issue signs a certificate. If issuer is nil, the certificate is self-signed.
func issue(template *x509.Certificate, key crypto.Signer, issuer *identity) *identity {
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	template.SerialNumber.SetBit(template.SerialNumber, 62, 1) // always eight octets
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic("policytest: certificate for " + template.Subject.CommonName + ": " + err.Error())
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	return &identity{key: key, cert: cert}
}

// issueChain returns the chain that the server called name presents with behavior
// b.
func (inet *Internet) issueChain(name string, key crypto.Signer, b *Behavior) *chain {
	template := newTemplate(name)
	template.DNSNames = []string{name}
	for _, change := range b.certificate {
		change(template)
	}
	if b.otherKey {
		key = newKey(b.rsaKey)
	}
	authority := inet.ca
	if b.untrusted {
		authority = inet.fake
	}
	c := new(chain)
	signer := authority.issuer
	if b.selfSigned {
		c.identity = *issue(template, key, nil)
		signer = &c.identity
	} else {
		c.identity = *issue(template, key, signer)
		c.issuer = signer.cert
	}
	if b.negativeSerial {
		c.cert = negateSerial(c.cert, signer.key)
	}
	return c
}

// negateSerial returns the certificate with a negative serial number, which
// package x509 neither makes nor parses. Only Raw and the fields that do not depend
// on it are correct.
func negateSerial(cert *x509.Certificate, signer crypto.Signer) *x509.Certificate {
	signed := bytes.Clone(cert.RawTBSCertificate)
	serial, _ := asn1.Marshal(cert.SerialNumber)
	signed[bytes.Index(signed, serial)+2] = 0x80 // the octet after tag and length, which begins the shortest form of a number
	sum := sha256.Sum256(signed)
	signature, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	var outer struct {
		Signed    asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.Raw, &outer); err != nil {
		panic("policytest: " + err.Error())
	}
	outer.Signed = asn1.RawValue{FullBytes: signed}
	outer.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	changed := *cert
	if changed.Raw, err = asn1.Marshal(outer); err != nil {
		panic("policytest: " + err.Error())
	}
	return &changed
}

// TLSARecord returns the data of a TLSA record for a certificate, such as "3 1 1
// 8d02536c...". The parameters are the certificate usage, selector and matching
// type, such as "3 1 1" (RFC 6698 section 2.1). Use it for servers that are
// programs of their own.
func TLSARecord(cert *x509.Certificate, parameters string) string {
	var usage, selector, matching uint8
	if _, err := fmt.Sscan(parameters, &usage, &selector, &matching); err != nil {
		panic(fmt.Sprintf("policytest: TLSA parameters %q are not three numbers: %v", parameters, err))
	}
	data := cert.Raw
	if selector == 1 {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 0:
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	default:
		sum := sha256.Sum256(data)
		data = sum[:]
	}
	return fmt.Sprintf("%d %d %d %x", usage, selector, matching, data)
}
