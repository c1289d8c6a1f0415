package delivery_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// oddCertificate is a self-signed certificate with octets that crypto/x509 does not
// write. The key that it is for is that of the server, whatever the certificate says.
type oddCertificate struct {
	chain [][]byte
	key   crypto.Signer
	spki  []byte // of the leaf
}

// odd makes a certificate with an extension of its own, or with octets replaced.
func odd(t *testing.T, name string, key crypto.Signer, extension *pkix.Extension, old, replaced []byte) oddCertificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x1234567), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if extension != nil {
		template.ExtraExtensions = []pkix.Extension{*extension}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if len(old) > 0 && !bytes.Contains(der, old) {
		t.Fatal("the certificate does not have what the test replaces")
	}
	return oddCertificate{[][]byte{bytes.Replace(der, old, replaced, 1)}, key, bytes.Replace(spki, old, replaced, 1)}
}

// publish returns the TLSA record with parameters such as "3 1 1". For the usage 2, the
// certificate is its own issuer.
func (c oddCertificate) publish(parameters string) string {
	data := c.chain[0]
	if strings.Fields(parameters)[1] == "1" {
		data = c.spki
	}
	return fmt.Sprintf("%s %x", parameters, sha256.Sum256(data))
}

func (c oddCertificate) serve(config *tls.Config) {
	config.Certificates = []tls.Certificate{{Certificate: c.chain, PrivateKey: c.key}}
}

// negative is a certificate with a negative serial number.
func negative(t *testing.T, name string, key crypto.Signer) oddCertificate {
	return odd(t, name, key, nil, []byte{2, 4, 1, 0x23, 0x45, 0x67}, []byte{2, 4, 0x81, 0x23, 0x45, 0x67})
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// S18: Go refuses some certificates before anything can verify them, even if a TLSA
// record names them. The mail waits, and the error says what helps. Where nothing demands
// TLS, the mail goes in cleartext, and the failure is recorded.
func TestS18CertificatesThatGoRefuses(t *testing.T) {
	t.Parallel()
	const (
		serial  = "GODEBUG=x509negativeserial=1"
		replace = "Go cannot parse the certificate; its owner has to replace it"
		unknown = "Go does not support the key of the certificate; its owner has to replace it"
	)
	extension := func(id []int, value ...byte) *pkix.Extension { return &pkix.Extension{Id: id, Value: value} }
	aia, san := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}, asn1.ObjectIdentifier{2, 5, 29, 17}
	for name, test := range map[string]struct {
		make func(t *testing.T, host string) oddCertificate
		says string
	}{
		"a negative serial number": {func(t *testing.T, host string) oddCertificate {
			return negative(t, host, testpki.NewKey(t))
		}, serial},
		"AIA without a sequence": {func(t *testing.T, host string) oddCertificate {
			return odd(t, host, testpki.NewKey(t), extension(aia, 4, 0), nil, nil)
		}, replace},
		"AIA that is cut off": {func(t *testing.T, host string) oddCertificate {
			return odd(t, host, testpki.NewKey(t), extension(aia, 0x30, 2, 0x30, 5), nil, nil)
		}, replace},
		"SAN with an IP address of five octets": {func(t *testing.T, host string) oddCertificate {
			return odd(t, host, testpki.NewKey(t), extension(san, 0x30, 7, 0x87, 5, 192, 0, 2, 1, 0), nil, nil)
		}, replace},
		"SAN that is not ASCII": {func(t *testing.T, host string) oddCertificate {
			return odd(t, host, testpki.NewKey(t), extension(san, 0x30, 4, 0x82, 2, 0xc3, 0xa4), nil, nil)
		}, replace},
		"SAN with a broken URI": {func(t *testing.T, host string) oddCertificate {
			return odd(t, host, testpki.NewKey(t), extension(san, 0x30, 4, 0x86, 2, '%', 'z'), nil, nil)
		}, replace},
		"an unknown curve": {func(t *testing.T, host string) oddCertificate {
			p256 := []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
			return odd(t, host, testpki.NewKey(t), nil, p256, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 6})
		}, replace},
		"an unknown kind of key": {func(t *testing.T, host string) oddCertificate {
			ecPublicKey := []byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}
			return odd(t, host, testpki.NewKey(t), nil, ecPublicKey, []byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 3})
		}, unknown},
		"a broken RSA key": {func(t *testing.T, host string) oddCertificate {
			exponent := []byte{2, 3, 1, 0, 1} // 65537
			return odd(t, host, rsaKey(), nil, exponent, []byte{2, 3, 0x81, 0, 1})
		}, replace},
		"another certificate in the chain": {func(t *testing.T, host string) oddCertificate {
			good, bad := odd(t, host, testpki.NewKey(t), nil, nil, nil), negative(t, host, testpki.NewKey(t))
			good.chain = append(good.chain, bad.chain...)
			return good
		}, serial},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			recorder := new(sessions)
			d := &delivery.Dialer{Resolver: resolver(t, inet), Recorder: recorder, LocalName: "sender.example"}
			for _, p := range []struct{ domain, tlsa, mode, report string }{
				{domain: "ee-key.example", tlsa: "3 1 1", report: "tlsa"},
				{domain: "ee-cert.example", tlsa: "3 0 1", report: "tlsa"},
				{domain: "ta-key.example", tlsa: "2 1 1", report: "tlsa"},
				{domain: "sts.example", mode: "enforce", report: "sts"},
				{domain: "testing.example", mode: "testing", report: "sts"},
				{domain: "bare.example", report: "no-policy-found"},
			} {
				cert := test.make(t, "mx."+p.domain)
				options := []policytest.Option{policytest.TLSConfig(cert.serve)}
				var unsigned []policytest.DomainOption
				if p.tlsa != "" {
					options = append(options, policytest.TLSA(cert.publish(p.tlsa)))
				} else {
					unsigned = append(unsigned, policytest.Unsigned)
				}
				domain := inet.Domain(p.domain, unsigned...).MX("mx." + p.domain)
				if p.mode != "" {
					domain.Policy(p.mode, "mx."+p.domain)
				}
				host := inet.Host("mx."+p.domain, options...)
				err := d.SendMail(t.Context(), "s@example.net", []string{"user@" + p.domain}, []byte(letter))
				if report, want := strings.Join(recorder.take(), ", "), p.report+" validation-failure"; report != want {
					t.Errorf("%s: reported %q, want %q", p.domain, report, want)
				}
				if p.tlsa == "" && p.mode != "enforce" {
					if messages := host.Messages(); err != nil || len(messages) != 1 || messages[0].Session.TLS != nil {
						t.Errorf("%s: %d messages, error %v", p.domain, len(messages), err)
					}
					continue
				}
				var failure *policy.Error
				if !errors.As(err, &failure) || failure.Permanent || !strings.Contains(err.Error(), test.says) ||
					test.says != serial && strings.Contains(err.Error(), serial) {
					t.Errorf("%s: error %v", p.domain, err)
				}
				if len(host.Messages()) != 0 || len(host.Sessions()) != 1 {
					t.Errorf("%s: %d messages in %d sessions", p.domain, len(host.Messages()), len(host.Sessions()))
				}
			}
		})
	}
}

// S18: what the error advises helps: with the setting, DANE verifies the certificate. It
// is not parallel, because the setting is for the whole process.
func TestS18NegativeSerialNumberPermitted(t *testing.T) {
	t.Setenv("GODEBUG", "x509negativeserial=1")
	inet := policytest.New(t)
	d := &delivery.Dialer{Resolver: resolver(t, inet), LocalName: "sender.example"}
	for _, parameters := range []string{"3 1 1", "3 0 1"} {
		domain := strings.ReplaceAll(parameters, " ", "-") + ".example"
		cert := negative(t, "mx."+domain, testpki.NewKey(t))
		inet.Domain(domain).MX("mx." + domain)
		host := inet.Host("mx."+domain, policytest.TLSConfig(cert.serve), policytest.TLSA(cert.publish(parameters)))
		err := d.SendMail(t.Context(), "s@example.net", []string{"user@" + domain}, []byte(letter))
		if messages := host.Messages(); err != nil || len(messages) != 1 || messages[0].Session.TLS == nil {
			t.Errorf("%s: %d messages, error %v", parameters, len(messages), err)
		}
	}
}
