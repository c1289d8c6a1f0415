package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
)

// printText prints a result as text.
func printText(w io.Writer, r *result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s: %s\n", clean(r.Domain), r.Verdict, r.Why)
	for _, l := range r.Lookups {
		l.print(&b)
	}
	if r.Error != nil {
		fmt.Fprintf(&b, "  %s\n", clean(r.Error.Error()))
	}
	if r.Plan != nil {
		b.WriteString("the plan for ")
		if err := r.Plan.Explain(&b); err != nil {
			return err
		}
	}
	for _, s := range r.Sessions {
		s.print(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (l *lookup) print(b *bytes.Buffer) {
	line := func(text string) {
		fmt.Fprintf(b, "  %-4s %s %s: %s\n", l.Type, clean(l.Name), l.Status, clean(text))
	}
	for _, alias := range l.Aliases {
		line("an alias of " + alias)
	}
	for _, record := range l.Records {
		line(record)
	}
	switch {
	case l.Error != "":
		line(l.Error)
	case len(l.Records) == 0:
		line("none")
	}
}

func (s *session) print(b *bytes.Buffer) {
	state := "a sender would not use it"
	if s.OK {
		state = "a sender would use it"
	}
	version := s.TLS
	if version == "" {
		version = "no TLS"
	}
	fmt.Fprintf(b, "%s at %s: %s: %s\n", clean(s.Host), s.Addr, version, state)
	if s.Error != "" {
		fmt.Fprintf(b, "  %s\n", clean(s.Error))
	}
	for i, cert := range s.Certificates {
		fmt.Fprintf(b, "  certificate %d: %s", i, clean(cert.Subject))
		if len(cert.Names) > 0 {
			fmt.Fprintf(b, " for %s", clean(strings.Join(cert.Names, " ")))
		}
		fmt.Fprintf(b, ", issued by %s, valid until %s\n", clean(cert.Issuer), cert.Expires.Format(time.DateOnly))
	}
	for _, r := range s.Records {
		fmt.Fprintf(b, "  TLSA %s: %s\n", shortened(r.Record), clean(r.How))
	}
	if s.MTASTS != "" {
		fmt.Fprintf(b, "  MTA-STS %s\n", clean(s.MTASTS))
	}
}

// shortened returns the beginning of a TLSA record. It is long enough to find
// the record in the lookups above.
func shortened(record string) string {
	const enough = len("3 1 1 ") + 16
	if len(record) <= enough {
		return record
	}
	return record[:enough] + "..."
}

// maxText limits text from servers, in octets.
const maxText = 2000

// clean truncates long text and quotes text with control characters or other
// characters that a terminal could act on. Most printed text comes from
// servers.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return fmt.Sprintf("%+q", s)
		}
	}
	return s
}

// printJSON prints a result as one line of JSON. It escapes everything but
// ASCII, because package json does not escape all characters that a terminal
// could act on.
func printJSON(w io.Writer, r *result) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, c := range string(text) {
		switch {
		case c < 0x7f:
			b.WriteRune(c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}
