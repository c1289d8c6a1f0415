package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// errOther reports a message that the standard library reads in another way
// than this package, or not at all.
var errOther = errors.New("not comparable")

// bodies returns the decoded bodies of the leaves of an entity, as the standard
// library reads it.
func bodies(header textproto.MIMEHeader, body io.Reader, isMessage, inDigest bool, depth int) ([]string, error) {
	contentType := header.Get("Content-Type")
	for _, field := range []string{"Content-Type", "Content-Transfer-Encoding", "MIME-Version"} {
		if len(header.Values(field)) > 1 || strings.ContainsAny(header.Get(field), "(\\") {
			return nil, errOther
		}
	}
	if contentType == "" && inDigest {
		contentType = "message/rfc822"
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" {
		return nil, errOther
	}
	encoding := strings.ToLower(header.Get("Content-Transfer-Encoding"))
	isIdentity := slices.Contains([]string{"", "7bit", "8bit", "binary"}, encoding)
	if isMessage && (header.Get("MIME-Version") != "1.0" || contentType == "") {
		isIdentity, mediaType = true, "" // the body has no structure
	}
	switch {
	case depth > maxDepth:
		return nil, errOther
	case isIdentity && strings.HasPrefix(mediaType, "multipart/") && params["boundary"] != "":
		var all []string
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err == io.EOF {
				return all, nil
			}
			if err != nil {
				return nil, errOther
			}
			inside, err := bodies(part.Header, part, false, mediaType == "multipart/digest", depth+1)
			if err != nil {
				return nil, err
			}
			all = append(append(all, "part"), inside...)
		}
	case isIdentity && mediaType == "message/rfc822":
		m, err := mail.ReadMessage(body)
		if err != nil {
			return nil, errOther
		}
		inside, err := bodies(textproto.MIMEHeader(m.Header), m.Body, true, false, depth+1)
		return append([]string{"message"}, inside...), err
	case encoding == "quoted-printable":
		body = quotedprintable.NewReader(body)
	case encoding == "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	decoded, err := io.ReadAll(body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errOther
	}
	return []string{string(decoded)}, nil
}

func messageBodies(text []byte) ([]string, error) {
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		return nil, errOther
	}
	return bodies(textproto.MIMEHeader(m.Header), m.Body, true, false, 0)
}

// RFC 6152 section 3: no octet above 127, and no loss.
func FuzzConvert(f *testing.F) {
	f.Add([]byte(crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: 8bit", "", "\xc3\xa4 ")))
	f.Add([]byte(crlf(version, "Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: 8bit", "", "x", "--b",
		"Content-Type: multipart/digest; boundary=bc", "", "--bc", "", version, "Content-Type: text/html", "", "\xe4", "--bc--", "--b",
		"Content-Type: multipart/signed; boundary=s", "", "--s", "", "x", "--s--", "--b",
		"Content-Type: message/rfc822", "", version, "Content-Type: application/x", "Content-Transfer-Encoding: binary", "", "\xe4", "--b--", "x")))
	f.Add([]byte(crlf(version, `Content-Type: multipart/mixed; boundary="=E4"`, "", "--=E4", "", "--\xe4", strings.Repeat("x", 75)+"--=E4", "--=E4--")))
	f.Fuzz(func(t *testing.T, message []byte) {
		// Everything is compared as sent.
		var sent bytes.Buffer
		w := NewLineWriter(&sent)
		if _, err := w.Write(message); err != nil || w.Close() != nil {
			return
		}
		out, err := convert(sent.String())
		if isASCII(sent.Bytes()) && err != nil {
			t.Fatalf("7-bit message: %v", err)
		}
		if err != nil {
			return
		}
		if !isASCII([]byte(out)) {
			t.Fatalf("8-bit octets in %q", out)
		}
		if again, err := convert(out); err != nil || again != out {
			t.Fatalf("converted twice: %v\n%q\n%q", err, out, again)
		}
		want, err := messageBodies(sent.Bytes())
		if err != nil {
			return
		}
		got, err := messageBodies([]byte(out))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v\nin  %q\nout %q\nwant %q\ngot  %q", err, sent.Bytes(), out, want, got)
		}
	})
}
