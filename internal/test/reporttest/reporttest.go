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
	"os"
	"path/filepath"

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
