package mailserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Identity is a key and its certificate, which is valid for two days.
type Identity struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA returns a self-signed certificate authority.
func NewCA(t testing.TB, name string) Identity {
	t.Helper()
	return issue(t, &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil)
}

// NewServer returns a certificate for the names. If issuer is nil, it is
// self-signed.
func NewServer(t testing.TB, issuer *Identity, names ...string) Identity {
	t.Helper()
	return issue(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		DNSNames:    names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, issuer)
}

func issue(t testing.TB, template *x509.Certificate, issuer *Identity) Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(48 * time.Hour)
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Identity{Cert: cert, key: key}
}

// File writes the key and the certificate chain to a file and returns its name.
func (id Identity) File(t testing.TB, issuers ...Identity) string {
	t.Helper()
	chain := tls.Certificate{PrivateKey: id.key, Certificate: [][]byte{id.Cert.Raw}}
	for _, issuer := range issuers {
		chain.Certificate = append(chain.Certificate, issuer.Cert.Raw)
	}
	return ChainFile(t, chain)
}

// ChainFile writes a key and its certificate chain to a file and returns its name.
func ChainFile(t testing.TB, chain tls.Certificate) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(chain.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	encode := func(kind string, der []byte) {
		if err := pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	encode("PRIVATE KEY", key)
	for _, der := range chain.Certificate {
		encode("CERTIFICATE", der)
	}
	name := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TLSAKey returns the data of a TLSA record with parameters x 1 1.
func (id Identity) TLSAKey() string { return digest(id.Cert.RawSubjectPublicKeyInfo) }

// TLSACert returns the data of a TLSA record with parameters x 0 1.
func (id Identity) TLSACert() string { return digest(id.Cert.Raw) }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
