package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

const (
	maxParts = 100 // parts of a message that are searched
	maxDepth = 8   // nested multiparts and messages
)

// findReport returns the report in a mail message (RFC 8460 section 5.3), as
// JSON or gzip.
func findReport(message []byte) ([]byte, error) {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return nil, &Error{"", errors.New("neither JSON nor gzip nor a mail message")}
	}
	search := partSearch{parts: maxParts}
	report, err := search.in(m.Header.Get, m.Body, 0)
	switch {
	case err != nil:
		return nil, &Error{"", fmt.Errorf("reading a message: %w", err)}
	case report == nil:
		return nil, &Error{"", errors.New("the message contains no report")}
	default:
		return report, nil
	}
}

// partSearch searches the parts of a message for a report.
type partSearch struct {
	parts int // number of parts that may still be searched
}

// in returns the report in an entity, or nil if it has none. header returns the
// value of a header field.
func (s *partSearch) in(header func(string) string, body io.Reader, depth int) ([]byte, error) {
	if s.parts--; s.parts < 0 || depth > maxDepth {
		return nil, errors.New("too many parts")
	}
	mediaType, params, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil && mediaType == "" {
		mediaType = "text/plain" // RFC 2045 section 5.2
	}
	switch {
	case strings.HasPrefix(mediaType, "multipart/"):
		return s.inMultipart(multipart.NewReader(body, params["boundary"]), depth)
	case mediaType == "message/rfc822" || mediaType == "message/global": // forwarded
		return s.inMessage(decoded(header("Content-Transfer-Encoding"), body), depth)
	case strings.HasPrefix(mediaType, "text/") && !isAttachment(header("Content-Disposition")):
		return nil, nil
	}
	data, err := io.ReadAll(decoded(header("Content-Transfer-Encoding"), body))
	switch {
	case isGzip(data) || isJSON(data):
		return data, err
	case strings.HasPrefix(mediaType, "application/tlsrpt+"):
		return nil, fmt.Errorf("the part of type %q is neither JSON nor gzip", mediaType)
	default:
		return nil, nil // some other attachment
	}
}

// inMessage returns the report in a forwarded message. A part that is no message
// contains no report.
func (s *partSearch) inMessage(message io.Reader, depth int) ([]byte, error) {
	m, err := mail.ReadMessage(message)
	if err != nil {
		return nil, nil
	}
	return s.in(m.Header.Get, m.Body, depth+1)
}

func (s *partSearch) inMultipart(parts *multipart.Reader, depth int) ([]byte, error) {
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if report, err := s.in(part.Header.Get, part, depth+1); report != nil || err != nil {
			return report, err
		}
	}
}

// isAttachment reports whether a part is an attachment. Some senders attach reports
// as text.
func isAttachment(disposition string) bool {
	kind, _, _ := mime.ParseMediaType(disposition)
	return kind == "attachment"
}

// decoded removes the Content-Transfer-Encoding of body (RFC 2045 section 6).
func decoded(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	default:
		return body
	}
}
