package envelope

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
)

// message searches a mail message (RFC 8460 section 5.3). The error is ErrUnknownForm if
// data is not a message.
func (o *opener) message(data []byte, depth int) error {
	m, err := mail.ReadMessage(bytes.NewReader(withContentFields(data)))
	if err != nil {
		return ErrUnknownForm
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	return o.entity(m.Header.Get, body, depth)
}

// maxHeader limits the part of a message's header that is about the content, in octets.
const maxHeader = 64 << 10

// withContentFields returns a message without the lines in its header that are not about
// the content. Among them are lines that are not header fields at all: the first line of an
// mbox, and what mail filters and programs leave there. Without any header field it returns
// nil, because such data is not a message.
func withContentFields(data []byte) []byte {
	message := make([]byte, 0, len(data)+1)
	fields, kept := 0, false // kept: the field that the next line may continue
	rest := bytes.TrimLeft(data, "\r\n")
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if len(bytes.TrimRight(line, "\r")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			kept = false
			if isField(line) {
				fields++
				kept = len(line) > len(contentPrefix) && strings.EqualFold(string(line[:len(contentPrefix)]), contentPrefix)
			}
		}
		if kept && len(message)+len(line) < maxHeader {
			message = append(append(message, line...), '\n')
		}
		rest = after
	}
	switch {
	case fields == 0:
		return nil
	case len(rest) == 0:
		return append(message, '\n')
	default:
		return append(message, rest...)
	}
}

const contentPrefix = "Content-"

// isField reports whether a line begins with the name of a header field and a colon.
func isField(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return false
	}
	for _, c := range line[:colon] {
		if c <= ' ' || c > '~' || strings.IndexByte("()<>@,;\\\"/[]?={}", c) >= 0 {
			return false
		}
	}
	return true
}

// entity searches a message or a part of it. header returns the value of a header field.
func (o *opener) entity(header func(string) string, body []byte, depth int) error {
	if o.parts--; o.parts < 0 || depth > maxDepth {
		return errors.New("too many parts")
	}
	content := parseContent(header)
	switch {
	case strings.HasPrefix(content.mediaType, "multipart/"):
		return o.multipart(content.boundary, body, depth)
	case content.isMessage():
		if err := o.message(decoded(content.encoding, body), depth+1); !errors.Is(err, ErrUnknownForm) {
			return err
		}
		return nil // what is not a message contains no report
	case strings.HasPrefix(content.mediaType, "text/") && !content.attached:
		texts, err := o.openPart(decoded(content.encoding, body), depth)
		o.inline = append(o.inline, likelyReports(texts)...)
		return onlyTooLarge(err)
	}
	// A wrong Content-Transfer-Encoding is common in saved messages.
	texts, err := o.openPart(decoded(content.encoding, body), depth)
	if len(texts) == 0 && err == nil {
		texts, err = o.openPart(body, depth)
	}
	switch {
	case !content.isReport():
		o.texts = append(o.texts, likelyReports(texts)...)
	case len(texts) > 0:
		o.texts = append(o.texts, texts...)
	case err != nil:
		o.fail("reading a message: %w", err)
	default:
		o.fail("reading a message: the part of type %q is neither JSON nor gzip", content.mediaType)
	}
	return onlyTooLarge(err)
}

// onlyTooLarge returns err if nothing more may be decompressed, and nil for an attachment
// of another kind.
func onlyTooLarge(err error) error {
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return nil
}

func (o *opener) multipart(boundary string, body []byte, depth int) error {
	for parts := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return o.unlessFound(err)
		}
		// A message that was cut off has a last part without an end.
		data, err := io.ReadAll(part)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return o.unlessFound(err)
		}
		if err := o.entity(part.Header.Get, data, depth+1); err != nil {
			return err
		}
	}
}

// unlessFound returns err, the error of a multipart, unless reports were found before it.
func (o *opener) unlessFound(err error) error {
	if len(o.texts) > 0 {
		return nil
	}
	return err
}

// content is what the header of an entity says about its body.
type content struct {
	mediaType string // in lower case
	boundary  string // of a multipart
	name      string // of a file, in lower case
	encoding  string
	attached  bool
}

func parseContent(header func(string) string) content {
	mediaType, parameters := parseParameters(header("Content-Type"))
	disposition, more := parseParameters(header("Content-Disposition"))
	c := content{
		mediaType: mediaType, boundary: parameters["boundary"], encoding: header("Content-Transfer-Encoding"),
		name:     strings.ToLower(parameters["name"] + more["filename"]),
		attached: disposition == "attachment",
	}
	if !strings.Contains(c.mediaType, "/") {
		c.mediaType = "text/plain" // RFC 2045 section 5.2
	}
	return c
}

// isMessage reports whether the body is another message: one that was forwarded. Some
// mail programs attach it as a file.
func (c *content) isMessage() bool {
	return c.mediaType == "message/rfc822" || c.mediaType == "message/global" || strings.HasSuffix(c.name, ".eml")
}

// isReport reports whether the body should be a report: by its type (RFC 8460 section
// 5.3), or by its file name (section 5.1).
func (c *content) isReport() bool {
	return strings.HasPrefix(c.mediaType, "application/tlsrpt") ||
		strings.Contains(c.name, "!") && strings.Contains(c.name, ".json")
}

// parseParameters parses a value with parameters (RFC 2045 section 5.1). Those that
// violate the grammar, as unquoted file names and boundaries often do, end at the next
// semicolon.
func parseParameters(value string) (string, map[string]string) {
	first, parameters, err := mime.ParseMediaType(value)
	if err == nil {
		return first, parameters
	}
	first, rest, _ := strings.Cut(value, ";")
	parameters = make(map[string]string)
	for parameter := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		parameters[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return strings.ToLower(strings.TrimSpace(first)), parameters
}
