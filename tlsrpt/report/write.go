package report

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/mxseal/mxseal/tlsrpt"
)

// MarshalJSON returns the report in the form of RFC 8460 section 4: without null,
// without empty strings for absent values, and with arrays even for single
// values. It returns an [*Error] for a report that cannot be written in this form,
// for example because a domain is in U-labels or two counts contradict each other.
func (r *Report) MarshalJSON() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	// A sender writes a hundred thousand reports in a row, so this does not use
	// reflection, and estimates the size.
	size := 512
	for i := range r.Policies {
		size += 512 + 384*len(r.Policies[i].Details)
	}
	b := make([]byte, 0, size)
	b = appendString(append(b, `{"organization-name":`...), r.Organization)
	b = appendTime(append(b, `,"date-range":{"start-datetime":`...), r.Dates.Start)
	b = appendTime(append(b, `,"end-datetime":`...), r.Dates.End)
	b = appendString(append(b, `},"contact-info":`...), r.Contact)
	b = appendString(append(b, `,"report-id":`...), r.ID)
	b = append(b, `,"policies":`...)
	for i := range r.Policies {
		b = r.Policies[i].append(append(b, separator(i)))
	}
	return append(b, ']', '}'), nil
}

// MarshalJSON returns an element of "policies", in the form of RFC 8460 section 4.
// It is for stores. Unlike that of [Report], it does not check the values.
func (p PolicyResult) MarshalJSON() ([]byte, error) { return p.append(nil), nil }

// MarshalJSON returns an element of "failure-details", in the form of RFC 8460
// section 4. It is for stores, and does not check the values.
func (d Detail) MarshalJSON() ([]byte, error) { return d.append(nil), nil }

func (p *PolicyResult) append(b []byte) []byte {
	b = appendString(append(b, `{"policy":{"policy-type":`...), string(p.Policy.Type))
	b = appendString(append(b, `,"policy-domain":`...), p.Policy.Domain)
	if p.Policy.Type == tlsrpt.TLSA && len(p.Policy.Strings) == 0 {
		// The records are not known, because the lookup failed. RFC 8460 section 4.4
		// has the field for every policy.
		b = append(b, `,"policy-string":[]`...)
	}
	b = appendStrings(b, `,"policy-string":`, p.Policy.Strings)
	b = appendStrings(b, `,"mx-host":`, p.Policy.MXHosts)
	b = append(b, `},"summary":{"total-successful-session-count":`...)
	b = strconv.AppendInt(b, p.Summary.Successes, 10)
	b = append(b, `,"total-failure-session-count":`...)
	b = append(strconv.AppendInt(b, p.Summary.Failures, 10), '}')
	if len(p.Details) > 0 {
		b = append(b, `,"failure-details":`...)
		for i := range p.Details {
			b = p.Details[i].append(append(b, separator(i)))
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func (d *Detail) append(b []byte) []byte {
	b = appendString(append(b, `{"result-type":`...), string(d.Type))
	b = appendAddr(b, `,"sending-mta-ip":"`, d.SendingIP)
	b = appendOptional(b, `,"receiving-mx-hostname":`, d.MXHost)
	b = appendOptional(b, `,"receiving-mx-helo":`, d.HELO)
	b = appendAddr(b, `,"receiving-ip":"`, d.ReceivingIP)
	b = strconv.AppendInt(append(b, `,"failed-session-count":`...), d.Sessions, 10)
	b = appendOptional(b, `,"additional-information":`, d.Info)
	b = appendOptional(b, `,"failure-reason-code":`, d.ReasonCode)
	return append(b, '}')
}

// separator returns the octet that precedes element i of an array.
func separator(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}

func appendStrings(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, name...)
	for i, s := range list {
		b = appendString(append(b, separator(i)), s)
	}
	return append(b, ']')
}

func appendOptional(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, name...), s)
}

func appendAddr(b []byte, name string, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return b
	}
	return append(addr.AppendTo(append(b, name...)), '"')
}

// appendTime appends t in whole seconds of UTC (RFC 3339 section 5.6).
func appendTime(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339), '"')
}

// appendString appends s in quotes. Very few strings need escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // json.Marshal quotes any string
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
