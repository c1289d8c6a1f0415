package tlsrpt

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Report is what one sender saw of the mail hosts of one domain on one day, as
// RFC 8460 section 4 lays it down. [Reporter] makes and sends Reports, and
// [ParseReport] reads those of others.
type Report struct {
	// Organization is the name of the sender's organisation, in any words.
	Organization string
	// Dates is the time that the report covers.
	Dates DateRange
	// Contact is the mail address of who is responsible for the report. Its
	// domain is the submitter of the report (RFC 8460 section 5.3).
	Contact string
	// ID tells reports apart. A report that is sent again keeps it.
	ID string
	// Policies has one element for each policy that was applied.
	Policies []PolicyResult
}

// DateRange is the time that a report covers: a UTC day, from its first second
// to its last (RFC 8460 section 4.1). A report has them in whole seconds.
type DateRange struct {
	Start time.Time
	End   time.Time
}

// PolicyResult is how the sessions fared to which one policy applied.
type PolicyResult struct {
	Policy  Policy
	Summary Summary
	// Details says in which ways sessions failed. A session that failed in
	// several ways is counted in several elements, so their sum may be greater
	// than Summary.Failures (RFC 8460 section 4).
	Details []Detail
}

// Summary counts sessions; each is in one of the numbers.
type Summary struct {
	// Successes counts the sessions that met the policy (RFC 8460 section 4.2.1).
	Successes int64
	// Failures counts the sessions that did not (RFC 8460 section 4.2.2).
	Failures int64
}

// Detail is one way in which sessions failed. What is empty is not known, or is
// not the same for all sessions that are counted.
type Detail struct {
	Type ResultType
	// SendingIP and ReceivingIP are the ends of the connections.
	SendingIP netip.Addr
	// MXHost is the host as the MX record names it.
	MXHost string
	// HELO is the name in the greeting of the host.
	HELO        string
	ReceivingIP netip.Addr
	// Sessions counts the sessions that failed in this way.
	Sessions int64
	// Info is a URI with more about the failure.
	Info string
	// ReasonCode is a code or short text, such as "self-signed".
	ReasonCode string
}

// maxCount is the greatest integer of I-JSON (RFC 7493 section 2.2).
const maxCount = 1<<53 - 1

// invalid says which part of a report is not as RFC 8460 has it.
func invalid(part, format string, args ...any) error {
	return fmt.Errorf("tlsrpt: report: %s: %s", part, fmt.Sprintf(format, args...))
}

func (r *Report) check() error {
	switch {
	case r.Organization == "":
		return invalid("organization-name", "missing")
	case r.ID == "":
		return invalid("report-id", "missing")
	case r.Dates.Start.IsZero() || !r.Dates.End.After(r.Dates.Start):
		return invalid("date-range", "does not end after it starts")
	case len(r.Policies) == 0:
		return invalid("policies", "none")
	}
	if _, err := submitter(r.Contact); err != nil {
		return invalid("contact-info", "%v", err)
	}
	for i := range r.Policies {
		if part, problem := r.Policies[i].check(); problem != "" {
			return invalid(fmt.Sprintf("policies[%d].%s", i, part), "%s", problem)
		}
	}
	return nil
}

// submitter returns the domain of a contact address, which stands for the
// sender in file names and header fields (RFC 8460 sections 5.1 and 5.3).
func submitter(contact string) (string, error) {
	at := strings.LastIndexByte(contact, '@')
	if at <= 0 || !isDotAtom(contact[:at]) || !isDomain(contact[at+1:]) {
		return "", fmt.Errorf("%q is not a mail address of the form local@domain", contact)
	}
	return strings.ToLower(contact[at+1:]), nil
}

// check returns what is wrong with which part, if anything is.
func (p *PolicyResult) check() (part, problem string) {
	switch p.Policy.Type {
	case STS:
	case TLSA, NoPolicyFound:
		if len(p.Policy.MXHosts) > 0 {
			return "policy.mx-host", "is for policies of type sts only"
		}
	default:
		return "policy.policy-type", fmt.Sprintf("%q is unknown", p.Policy.Type)
	}
	switch {
	case !isDomain(p.Policy.Domain):
		return "policy.policy-domain", fmt.Sprintf("%q is not a domain in A-labels", p.Policy.Domain)
	case p.Policy.Type == NoPolicyFound && len(p.Policy.Strings) > 0:
		return "policy.policy-string", "there was no policy"
	}
	for _, pattern := range p.Policy.MXHosts {
		if !isDomain(strings.TrimPrefix(pattern, "*.")) {
			return "policy.mx-host", fmt.Sprintf("%q is not a pattern in A-labels", pattern)
		}
	}
	if !isCount(p.Summary.Successes) || !isCount(p.Summary.Failures) {
		return "summary", "a count is out of range"
	}
	for i := range p.Details {
		if problem := p.Details[i].check(p.Summary.Failures); problem != "" {
			return fmt.Sprintf("failure-details[%d]", i), problem
		}
	}
	return "", ""
}

func (d *Detail) check(failures int64) string {
	switch {
	case !d.Type.Valid():
		return fmt.Sprintf("the result-type %q is not registered", d.Type)
	case d.Sessions < 1 || d.Sessions > failures:
		return fmt.Sprintf("%d of %d failed sessions", d.Sessions, failures)
	case !isPlain(d.SendingIP) || !isPlain(d.ReceivingIP):
		return "an address has a zone, or is one of IPv4 in IPv6"
	case d.Info != "" && !isURI(d.Info):
		return fmt.Sprintf("the additional-information %q is not a URI", d.Info)
	default:
		return ""
	}
}

func isCount(n int64) bool { return n >= 0 && n <= maxCount }

// isPlain reports whether addr is written as RFC 8460 section 4.4 has it.
func isPlain(addr netip.Addr) bool { return !addr.Is4In6() && addr.Zone() == "" }
