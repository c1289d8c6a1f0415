package message

import (
	"bytes"
	"io"
	"mime"
	"strings"
)

const (
	// maxHeader bounds the octets of the header of a message or part that is
	// converted, and maxValue those of a field that matters to it.
	maxHeader = 1 << 20
	maxValue  = 64 << 10
	// maxBoundary bounds the characters of a boundary. RFC 2046 section 5.1.1
	// permits 70; some programs write more.
	maxBoundary = 256
)

// A header is the header of a message or of a part (an "entity" in RFC 2045).
type header struct {
	fields      extent // without the empty line
	body        extent // after the empty line
	mimeVersion mimeField
	contentType mimeField
	encoding    mimeField
	eightBit    bool
	fault       error // why the body cannot be understood: ErrMalformed or ErrLimit
}

// A mimeField is one of the fields that say what the body is.
type mimeField struct {
	name  string
	count int
	at    extent // of the last one, without its line end
	value []byte
}

func (f *mimeField) String() string { return strings.TrimSpace(withoutComments(string(f.value))) }

// header reads the header of the entity e.
func (c *converter) header(e extent) (header, error) {
	h := header{
		fields:      e,
		body:        extent{e.end, e.end},
		mimeVersion: mimeField{name: "MIME-Version"},
		contentType: mimeField{name: "Content-Type"},
		encoding:    mimeField{name: "Content-Transfer-Encoding"},
	}
	known := []*mimeField{&h.mimeVersion, &h.contentType, &h.encoding}
	var current *mimeField // the field that the last line belongs to
	c.lines.read(e)
	for h.fault == nil {
		line, err := c.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return h, err
		}
		value := line.text
		if line.begins {
			switch kind := line.kind(); {
			case kind == blankLine:
				h.fields.end, h.body.start = line.at, line.end()
				return h.checked(), nil
			case kind == otherLine, kind == continuationLine && line.at == e.start:
				h.fault = ErrMalformed
				return h, nil
			case kind == fieldLine:
				var name []byte
				name, value = line.field()
				current = nil
				for _, f := range known {
					if bytes.EqualFold(name, []byte(f.name)) {
						current = f
						f.count++
						f.at.start = line.at
						f.value = f.value[:0]
					}
				}
			}
		}
		if current != nil {
			current.value = append(current.value, value...)
			current.at.end = line.at + int64(len(line.text))
			if len(current.value) > maxValue {
				h.fault = ErrLimit
			}
		}
		if line.at-e.start > maxHeader {
			h.fault = ErrLimit
		}
		h.eightBit = h.eightBit || !isASCII(line.text)
	}
	return h.checked(), nil
}

// checked returns h with a fault if a field that may occur once occurs again:
// what the body is then depends on who reads it.
func (h header) checked() header {
	if h.fault == nil && (h.mimeVersion.count > 1 || h.contentType.count > 1 || h.encoding.count > 1) {
		h.fault = ErrMalformed
	}
	return h
}

// isMIME reports whether the header of a message says that MIME describes its
// body (RFC 2045 section 4).
func (h *header) isMIME() bool {
	return h.mimeVersion.String() == "1.0" && h.contentType.count > 0
}

// mediaType returns type and subtype in lower case, fallback if the entity has
// no field Content-Type, or "" if it cannot be read. Parameters that cannot be
// read do not matter here.
func (h *header) mediaType(fallback string) string {
	if h.contentType.count == 0 {
		return fallback
	}
	mediaType, _, _ := strings.Cut(h.contentType.String(), ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	major, minor, _ := strings.Cut(mediaType, "/")
	if major == "" || minor == "" || strings.ContainsAny(mediaType, " \t\"") {
		return ""
	}
	return mediaType
}

// boundary returns the boundary parameter, or "" if there is no usable one.
func (h *header) boundary() string {
	_, params, err := mime.ParseMediaType(h.contentType.String())
	boundary := params["boundary"]
	if err != nil || len(boundary) > maxBoundary {
		return ""
	}
	for i := range len(boundary) {
		if c := boundary[i]; c < ' ' || c > '~' {
			return ""
		}
	}
	return boundary
}

// transferEncoding returns the encoding in lower case; the default is "7bit"
// (RFC 2045 section 6.1).
func (h *header) transferEncoding() string {
	if h.encoding.count == 0 {
		return "7bit"
	}
	return strings.ToLower(h.encoding.String())
}

// withoutComments returns the value of a structured header field with a space
// in place of each comment (RFC 5322 section 3.2.2). mime.ParseMediaType does
// not know comments.
func withoutComments(value string) string {
	var out strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(value):
			if i++; quoted {
				out.WriteString(value[i-1 : i+1])
			}
		case c == '"' && depth == 0:
			quoted = !quoted
			out.WriteByte(c)
		case c == '(' && !quoted:
			if depth++; depth == 1 {
				out.WriteByte(' ')
			}
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			out.WriteByte(c)
		}
	}
	return out.String()
}
