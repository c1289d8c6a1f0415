package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

// keyFile writes a key in the format of openssl genpkey.
func keyFile(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemFile(t, "PRIVATE KEY", der)
}

func pemFile(t *testing.T, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fields are the fields to sign. signedMessage has all of them.
var fields = []string{"From", "To", "TLS-Report-Domain", "TLS-Report-Submitter"}

const signedMessage = "From: <tls-reports@sender.test>\r\nTo:  <you@good.test>\r\nX-Other: 1\r\n" +
	"TLS-Report-Domain: good.test\r\nTLS-Report-Submitter: sender.test\r\n\r\n body  with spaces \r\n\r\n\r\n"

// RPT-18 to RPT-20: signatures with both kinds of keys verify with the printed
// record and cover the given fields and the whole body.
func TestSignaturesVerifyWithPrintedRecord(t *testing.T) {
	t.Parallel()
	rsaKey := newRSA(t, 2048)
	for name, file := range map[string]string{
		"RSA":         keyFile(t, rsaKey),
		"RSA, PKCS#1": pemFile(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
		"Ed25519":     keyFile(t, newEd25519(t)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reports := config.Reports{Contact: "tls-reports@Sender.test", DKIMKey: file, DKIMSelector: "r2026.tls"}
			var stdout bytes.Buffer
			if err := printRecord(&stdout, reports); err != nil {
				t.Fatal(err)
			}
			record := stdout.String()
			const prefix = `r2026.tls._domainkey.sender.test. IN TXT "v=DKIM1; k=`
			if !strings.HasPrefix(record, prefix) || !strings.Contains(record, "; s=tlsrpt; p=") {
				t.Fatalf("%s", record)
			}
			text := ""
			for _, part := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(record, -1) {
				if len(part[1]) > 255 {
					t.Errorf("a string of %d octets", len(part[1]))
				}
				text += part[1]
			}
			signer, err := newSigner(reports)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign(t.Context(), []byte(signedMessage), fields)
			if err != nil {
				t.Fatal(err)
			}
			signature, found := strings.CutSuffix(string(signed), signedMessage)
			if !found || !strings.Contains(signature, "c=relaxed/relaxed;") || strings.Contains(signature, " l=") ||
				!strings.Contains(signature, "h="+strings.Join(fields, ":")+";") {
				t.Errorf("%s", signature)
			}
			for change, want := range map[[2]string]bool{
				{"", ""}:                            true,
				{"body  with", "body with"}:         true, // relaxed
				{"X-Other: 1", "X-Other: 2"}:        true,
				{"To: ", "to:\t"}:                   true,
				{"body", "Body"}:                    false,
				{" spaces ", " spaces \r\nmore"}:    false,
				{"Domain: good.", "Domain: other."}: false,
			} {
				message := strings.Replace(string(signed), change[0], change[1], 1)
				checks := verifyBy(t, []byte(message), text)
				if len(checks) != 1 {
					t.Fatalf("%d signatures", len(checks))
				}
				if good := checks[0].Err == nil && checks[0].Domain == "sender.test"; good != want {
					t.Errorf("%q for %q: good is %t: %v", change[1], change[0], good, checks[0].Err)
				}
			}
		})
	}
}

func verifyBy(t *testing.T, message []byte, record string) []*dkim.Verification {
	t.Helper()
	checks, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) {
			// The library accepts only the service type "email".
			return []string{strings.Replace(record, "s=tlsrpt", "s=email", 1)}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

func TestBadDKIMKeysAreRefused(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := keyFile(t, newEd25519(t))
	for _, test := range []struct{ file, selector, want string }{
		{keyFile(t, newRSA(t, 1024)), "s", "the RSA key has 1024 bits, want at least 2048"},
		{keyFile(t, ec), "s", "use an RSA or Ed25519 key"},
		{pemFile(t, "ENCRYPTED PRIVATE KEY", nil), "s", "not an unencrypted private key"},
		{pemFile(t, "CERTIFICATE", nil), "s", "CERTIFICATE"},
		{pemFile(t, "PRIVATE KEY", []byte("x")), "s", "asn1"},
		{os.DevNull, "s", "the file contains no PEM block"},
		{"/nonexistent", "s", "/nonexistent"},
		{good, "", "not a sequence of labels"},
		{good, "a; l=1", "not a sequence of labels"},
		{good, "a..b", "not a sequence of labels"},
	} {
		var stdout bytes.Buffer
		err := printRecord(&stdout, config.Reports{Contact: "tls-reports@sender.test", DKIMKey: test.file, DKIMSelector: test.selector})
		if err == nil || stdout.Len() > 0 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q: %s", err, test.want, stdout.String())
		}
	}
}
