// Package reporttest reads reports as their recipients do. It shares no code with
// the packages under test except the parser to which it passes the reports.
//
// All reports that tests produce go through it. If the environment variable
// MXSEAL_REPORTS names a directory, it saves their text there. The module
// internal/test/schema runs the tests in this way, and checks every text against the
// JSON Schema of RFC 8460 section 4.4. The schema is checked in a module of its own,
// so that users of this module do not depend on the validator.
package reporttest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Dir is the environment variable that names the directory for the texts.
const Dir = "MXSEAL_REPORTS"

// Save saves the text of a report if Dir is set. The name of the file is the hash of
// the text.
func Save(text []byte) error {
	dir := os.Getenv(Dir)
	if dir == "" {
		return nil
	}
	hash := sha256.Sum256(text)
	return os.WriteFile(filepath.Join(dir, hex.EncodeToString(hash[:])+".json"), text, 0o600)
}

// Marshal returns a report in JSON, which it saves.
func Marshal(r *report.Report) ([]byte, error) {
	text, err := r.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return text, Save(text)
}

// Posted reads a report that was sent by https, compressed (RFC 8460 section 5.2),
// and saves its text.
func Posted(body []byte) (*report.Report, error) {
	text, err := decompress(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return parse(text, body)
}

// Mailed reads a report that was sent by mail (RFC 8460 section 5.3), and saves its
// text.
func Mailed(message []byte) (*report.Report, error) {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	mediaType, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if mediaType != "multipart/report" {
		return nil, fmt.Errorf("a message of type %q", mediaType)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, fmt.Errorf("no report in the message: %w", err)
		}
		if part.Header.Get("Content-Type") != "application/tlsrpt+gzip" {
			continue
		}
		text, err := decompress(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			return nil, err
		}
		return parse(text, message)
	}
}

// parse saves the text, and parses the delivery that contains it.
func parse(text, delivery []byte) (*report.Report, error) {
	if err := Save(text); err != nil {
		return nil, err
	}
	return report.Parse(bytes.NewReader(delivery))
}

func decompress(r io.Reader) ([]byte, error) {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// Failing returns the result of a policy with five details, which differ from those of
// another n.
func Failing(n byte) report.PolicyResult {
	host := fmt.Sprintf("mx%d.example.com", n)
	result := report.PolicyResult{
		Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: host, Strings: []string{
			"3 1 1 1f850a337e6db9c609c522d136a475638cc43e1ed424f8eec8513d747d1d085d",
			"3 1 1 12350a337e6db9c6123522d136a475638cc43e1ed424f8eec8513d747d1d1234",
		}},
		Summary: report.Summary{Successes: 1000, Failures: 15},
	}
	for i := range byte(5) {
		result.Details = append(result.Details, report.Detail{
			Type: tlsrpt.CertificateNotTrusted, ReasonCode: "unknown-authority",
			SendingIP:   netip.AddrFrom4([4]byte{198, 51, 100, i}),
			ReceivingIP: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, n, 15: i}),
			MXHost:      host, HELO: host, Sessions: 3,
		})
	}
	return result
}
