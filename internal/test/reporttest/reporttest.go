// Package reporttest reads reports as their recipients do, and holds them to the
// letter of RFC 8460 section 4.4. It shares no code with the package under test but
// the parser that it hands the reports on to. All reports that tests produce go
// through it.
package reporttest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for the schema
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mxseal/mxseal/tlsrpt"
)

//go:embed report.schema.json
var schemaText []byte

// compiled is RFC 8460 section 4.4 as a JSON Schema, with formats asserted.
var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	const name = "report.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
})

// Check returns an error if the text is not a report of RFC 8460 section 4.4.
func Check(text []byte) error {
	schema, err := compiled()
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not JSON: %w\n%s", err, text)
	}
	if err := schema.Validate(document); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// Marshal returns a report in JSON, which it has checked.
func Marshal(report *tlsrpt.Report) ([]byte, error) {
	text, err := report.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return text, Check(text)
}

// Posted reads what came by https, and checks it: the text of a report, compressed
// (RFC 8460 section 5.2).
func Posted(body []byte) (*tlsrpt.Report, error) {
	text, err := decompress(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return checked(text, body)
}

// Mailed reads what came by mail, and checks it (RFC 8460 section 5.3).
func Mailed(message []byte) (*tlsrpt.Report, error) {
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
		return checked(text, message)
	}
}

// checked checks the text, and parses the whole that it was found in.
func checked(text, whole []byte) (*tlsrpt.Report, error) {
	if err := Check(text); err != nil {
		return nil, err
	}
	return tlsrpt.ParseReport(bytes.NewReader(whole))
}

func decompress(r io.Reader) ([]byte, error) {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}
