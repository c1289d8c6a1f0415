package tlsrpt

import (
	"encoding/json"
	"strings"
)

// readPlain reads a report that is written as nearly everybody writes one: with
// no other names than those of RFC 8460, arrays for arrays, integers, and no
// null. For any other, ok is false, and encoding/json has to read it, which takes
// several times as long.
func readPlain(text string) (r *receivedReport, ok bool) {
	p := plainJSON{text}
	r = new(receivedReport)
	ok = p.object(func(name string) bool {
		switch name {
		case "organization-name":
			return p.text(&r.Organization)
		case "date-range":
			return p.dates(r)
		case "contact-info":
			return p.text(&r.Contact)
		case "report-id":
			return p.text(&r.ID)
		case "policies":
			if r.Policies != nil {
				return false // encoding/json mixes up the two
			}
			r.Policies = make([]policyResult, 0, 1)
			return p.array(func() bool {
				r.Policies = append(r.Policies, policyResult{})
				return p.result(&r.Policies[len(r.Policies)-1])
			})
		default:
			return false
		}
	})
	return r, ok && p.isAtEnd()
}

// plainJSON is the rest of a JSON text. Its methods read one value, and return
// false for one that is not plain, or not valid.
type plainJSON struct{ rest string }

func (p *plainJSON) dates(r *receivedReport) bool {
	return p.object(func(name string) bool {
		switch name {
		case "start-datetime":
			return p.text(&r.Dates.Start)
		case "end-datetime":
			return p.text(&r.Dates.End)
		default:
			return false
		}
	})
}

func (p *plainJSON) result(r *policyResult) bool {
	return p.object(func(name string) bool {
		switch name {
		case "policy":
			return p.policy(r)
		case "summary":
			return p.summary(r)
		case "failure-details":
			if r.Details != nil {
				return false
			}
			r.Details = make([]receivedDetail, 0, 1)
			return p.array(func() bool {
				r.Details = append(r.Details, receivedDetail{})
				return p.detail(&r.Details[len(r.Details)-1])
			})
		default:
			return false
		}
	})
}

func (p *plainJSON) policy(r *policyResult) bool {
	return p.object(func(name string) bool {
		switch name {
		case "policy-type":
			return p.text((*string)(&r.Policy.Type))
		case "policy-domain":
			return p.text(&r.Policy.Domain)
		case "policy-string":
			return p.texts(&r.Policy.Strings)
		case "mx-host":
			return p.texts(&r.Policy.MXHosts)
		default:
			return false
		}
	})
}

func (p *plainJSON) summary(r *policyResult) bool {
	return p.object(func(name string) bool {
		switch name {
		case "total-successful-session-count":
			return p.count(&r.Summary.Successes)
		case "total-failure-session-count":
			return p.count(&r.Summary.Failures)
		default:
			return false
		}
	})
}

func (p *plainJSON) detail(d *receivedDetail) bool {
	return p.object(func(name string) bool {
		switch name {
		case "result-type":
			return p.text((*string)(&d.Type))
		case "sending-mta-ip":
			return p.text(&d.SendingIP)
		case "receiving-mx-hostname":
			return p.text(&d.MXHost)
		case "receiving-mx-helo":
			return p.text(&d.HELO)
		case "receiving-ip":
			return p.text(&d.ReceivingIP)
		case "failed-session-count":
			return p.count(&d.Sessions)
		case "additional-information":
			return p.text(&d.Info)
		case "failure-reason-code":
			return p.text(&d.ReasonCode)
		default:
			return false
		}
	})
}

// object reads an object. member reads the value that goes by a name. Of a name
// that is there twice the last one counts, as with encoding/json.
func (p *plainJSON) object(member func(name string) bool) bool {
	if !p.take('{') {
		return false
	}
	for first := true; !p.take('}'); first = false {
		var name string
		if !first && !p.take(',') || !p.text(&name) || !p.take(':') || !member(name) {
			return false
		}
	}
	return true
}

func (p *plainJSON) array(element func() bool) bool {
	if !p.take('[') {
		return false
	}
	for first := true; !p.take(']'); first = false {
		if !first && !p.take(',') || !element() {
			return false
		}
	}
	return true
}

func (p *plainJSON) texts(list *oneOrMore) bool {
	*list = make(oneOrMore, 0, 1)
	return p.array(func() bool {
		var s string
		ok := p.text(&s)
		*list = append(*list, s)
		return ok
	})
}

func (p *plainJSON) text(s *string) bool {
	if !p.take('"') {
		return false
	}
	needsWork := false // escapes, or letters that may not be UTF-8
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"' && needsWork:
			literal := `"` + p.rest[:i+1]
			p.rest = p.rest[i+1:]
			return json.Unmarshal([]byte(literal), s) == nil
		case c == '"':
			*s, p.rest = p.rest[:i], p.rest[i+1:]
			return true
		case c < ' ':
			return false
		case c == '\\':
			needsWork = true
			i++ // what is escaped may be a quotation mark
		case c > '~':
			needsWork = true
		}
	}
	return false
}

func (p *plainJSON) count(n *json.Number) bool {
	p.skipSpace()
	digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
	if digits == 0 || digits > 1 && p.rest[0] == '0' {
		return false
	}
	*n, p.rest = json.Number(p.rest[:digits]), p.rest[digits:]
	return true // what comes after the digits decides
}

// take takes c if it is next.
func (p *plainJSON) take(c byte) bool {
	p.skipSpace()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *plainJSON) isAtEnd() bool {
	p.skipSpace()
	return p.rest == ""
}

// skipSpace skips white space (RFC 8259 section 2).
func (p *plainJSON) skipSpace() {
	for p.rest != "" && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\r' || p.rest[0] == '\t') {
		p.rest = p.rest[1:]
	}
}
