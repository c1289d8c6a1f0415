package policytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

// identity is a key and its certificate.
type identity struct {
	key *ecdsa.PrivateKey
	der []byte
}

func (id *identity) leaf() *x509.Certificate {
	cert, err := x509.ParseCertificate(id.der)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	return cert
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
	root := issue(template(name+" Root"), newKey(), nil)
	return &authority{root: root, issuer: issue(template(name+" Issuer"), newKey(), root)}
}

// newTemplate returns the template of a server certificate. It is valid from
// ten years ago until ten years from now.
func newTemplate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.AddDate(-10, 0, 0),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	return key
}

// issue signs a certificate. If issuer is nil, the certificate is self-signed.
func issue(template *x509.Certificate, key *ecdsa.PrivateKey, issuer *identity) *identity {
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.leaf(), issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic("policytest: certificate for " + template.Subject.CommonName + ": " + err.Error())
	}
	return &identity{key: key, der: der}
}

// issueChain returns the certificate, with the chain, that the server called
// name presents with behavior b.
func (inet *Internet) issueChain(name string, key *ecdsa.PrivateKey, b *behaviour) *tls.Certificate {
	template := newTemplate(name)
	template.DNSNames = []string{name}
	for _, change := range b.certificate {
		change(template)
	}
	if b.otherKey {
		key = newKey()
	}
	signer := inet.ca
	if b.untrusted {
		signer = inet.fake
	}
	if b.selfSigned {
		id := issue(template, key, nil)
		return &tls.Certificate{Certificate: [][]byte{id.der}, PrivateKey: key, Leaf: id.leaf()}
	}
	id := issue(template, key, signer.issuer)
	return &tls.Certificate{Certificate: [][]byte{id.der, signer.issuer.der}, PrivateKey: key, Leaf: id.leaf()}
}
