package mailserver

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
)

// An Identity is a key and its certificate, which is valid for two days.
type Identity struct{ *testpki.Entity }

// NewCA returns a self-signed certificate authority.
func NewCA(t testing.TB, name string) Identity {
	t.Helper()
	return Identity{testpki.Root(t, name, forTwoDays)}
}

// NewServer returns a certificate for the names. If issuer is nil, it is
// self-signed.
func NewServer(t testing.TB, issuer *Identity, names ...string) Identity {
	t.Helper()
	if issuer == nil {
		return Identity{testpki.SelfSigned(t, names, forTwoDays, testpki.CommonName(names[0]))}
	}
	return Identity{issuer.Server(t, names, forTwoDays, testpki.CommonName(names[0]))}
}

// forTwoDays makes a certificate valid by the real clock, which real programs have.
func forTwoDays(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(48*time.Hour)
}

// File writes the key and the certificate chain to a file and returns its name.
func (id Identity) File(t testing.TB, issuers ...Identity) string {
	t.Helper()
	var above []*testpki.Entity
	for _, issuer := range issuers {
		above = append(above, issuer.Entity)
	}
	return ChainFile(t, id.TLS(above...))
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
