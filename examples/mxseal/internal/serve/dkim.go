package serve

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

// signer signs reports with DKIM. It implements reporter.Signer.
type signer struct {
	domain, selector string
	key              crypto.Signer
}

// leastRSA is the minimum size of an RSA key in bits (RFC 8301 section 3.2).
const leastRSA = 2048

// selectorForm matches selectors (RFC 6376 section 3.1).
var selectorForm = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$`)

// newSigner returns a signer for the domain of the contact address.
func newSigner(r config.Reports) (*signer, error) {
	text, err := os.ReadFile(r.DKIMKey)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.DKIMKey, err)
	}
	if !selectorForm.MatchString(r.DKIMSelector) {
		return nil, fmt.Errorf("tlsrpt-reports.dkim-selector %q is not a sequence of labels separated by dots", r.DKIMSelector)
	}
	return &signer{domain: strings.ToLower(r.Contact[strings.LastIndexByte(r.Contact, '@')+1:]), selector: r.DKIMSelector, key: key}, nil
}

// parseKey parses a private key in PEM, in PKCS #8 or PKCS #1 format.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the file contains no PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("PEM block %q is not an unencrypted private key", block.Type)
	}
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < leastRSA {
			return nil, fmt.Errorf("the RSA key has %d bits, want at least %d", key.N.BitLen(), leastRSA)
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	default:
		return nil, fmt.Errorf("%T cannot be used for DKIM: use an RSA or Ed25519 key", key)
	}
}

// Sign prepends a DKIM-Signature over the given header fields and the whole
// body, without l=.
func (s *signer) Sign(_ context.Context, message []byte, fields []string) ([]byte, error) {
	var signed bytes.Buffer
	err := dkim.Sign(&signed, bytes.NewReader(message), &dkim.SignOptions{
		Domain:                 s.domain,
		Selector:               s.selector,
		Signer:                 s.key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             fields,
	})
	return signed.Bytes(), err
}

// record returns the name and the text of the DNS record of the key (RFC 6376
// section 3.6.1; for Ed25519, RFC 8463 section 4.2).
func (s *signer) record() (name, text string, err error) {
	var kind string
	var public []byte
	switch key := s.key.Public().(type) {
	case *rsa.PublicKey:
		kind = "rsa"
		public, err = x509.MarshalPKIXPublicKey(key)
	case ed25519.PublicKey:
		kind, public = "ed25519", key
	}
	text = "v=DKIM1; k=" + kind + "; s=tlsrpt; p=" + base64.StdEncoding.EncodeToString(public)
	return s.selector + "._domainkey." + s.domain + ".", text, err
}

// maxString is the maximum length of a character-string in DNS (RFC 1035
// section 3.3).
const maxString = 255

// printRecord prints the DNS record in zone-file format.
func printRecord(w io.Writer, r config.Reports) error {
	if r.DKIMKey == "" {
		return errors.New("tlsrpt-reports.dkim-key-file is not set")
	}
	signer, err := newSigner(r)
	if err != nil {
		return err
	}
	name, text, err := signer.record()
	if err != nil {
		return err
	}
	var parts []string
	for len(text) > maxString {
		parts = append(parts, text[:maxString])
		text = text[maxString:]
	}
	parts = append(parts, text)
	_, err = fmt.Fprintf(w, "%s IN TXT \"%s\"\n", name, strings.Join(parts, `" "`))
	return err
}
