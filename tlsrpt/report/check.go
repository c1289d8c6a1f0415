package report

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/internal/syntax"
)

// maxCount is the greatest integer of I-JSON (RFC 7493 section 2.2).
const maxCount = 1<<53 - 1

// check returns an error if the report cannot be written as RFC 8460 section 4
// requires.
func (r *Report) check() error {
	switch {
	case r.Organization == "":
		return &Error{"organization-name", errors.New("missing")}
	case r.ID == "":
		return &Error{"report-id", errors.New("missing")}
	case r.Dates.Start.IsZero() || !r.Dates.End.After(r.Dates.Start):
		return &Error{"date-range", errors.New("does not end after it starts")}
	case len(r.Policies) == 0:
		return &Error{"policies", errors.New("none")}
	}
	if _, err := syntax.MailDomain(r.Contact); err != nil {
		return &Error{"contact-info", err}
	}
	for i := range r.Policies {
		if part, err := r.Policies[i].check(); err != nil {
			return &Error{fmt.Sprintf("policies[%d].%s", i, part), err}
		}
	}
	return nil
}

// check returns the first part that is wrong, and the reason.
func (p *PolicyResult) check() (part string, err error) {
	switch p.Policy.Type {
	case tlsrpt.STS:
	case tlsrpt.TLSA, tlsrpt.NoPolicyFound:
		if len(p.Policy.MXHosts) > 0 {
			return "policy.mx-host", errors.New("allowed in policies of type sts only")
		}
	default:
		return "policy.policy-type", fmt.Errorf("%q is unknown", p.Policy.Type)
	}
	switch {
	case !names.IsDomain(p.Policy.Domain):
		return "policy.policy-domain", fmt.Errorf("%q is not a domain in A-labels", p.Policy.Domain)
	case p.Policy.Type == tlsrpt.NoPolicyFound && len(p.Policy.Strings) > 0:
		return "policy.policy-string", errors.New("not allowed for no-policy-found")
	}
	for _, pattern := range p.Policy.MXHosts {
		if !names.IsDomain(strings.TrimPrefix(pattern, "*.")) {
			return "policy.mx-host", fmt.Errorf("%q is not a pattern in A-labels", pattern)
		}
	}
	if !isCount(p.Summary.Successes) || !isCount(p.Summary.Failures) {
		return "summary", errors.New("a count is out of range")
	}
	for i := range p.Details {
		if err := p.Details[i].check(p.Summary); err != nil {
			return fmt.Sprintf("failure-details[%d]", i), err
		}
	}
	return "", nil
}

func (d *Detail) check(all Summary) error {
	switch {
	case !d.Type.Valid():
		return fmt.Errorf("the result-type %q is not registered", d.Type)
	case d.Sessions < 1 || d.Sessions > all.MaxSessions(d.Type):
		return fmt.Errorf("%d of %d sessions", d.Sessions, all.MaxSessions(d.Type))
	case !isPlain(d.SendingIP) || !isPlain(d.ReceivingIP):
		return errors.New("an address has a zone, or is an IPv4 address in IPv6 form")
	case d.Info != "" && !syntax.IsURI(d.Info):
		return fmt.Errorf("the additional-information %q is not a URI", d.Info)
	default:
		return nil
	}
}

func isCount(n int64) bool { return n >= 0 && n <= maxCount }

// isPlain reports whether addr has a text form that RFC 8460 section 4.4 allows.
func isPlain(addr netip.Addr) bool { return !addr.Is4In6() && addr.Zone() == "" }
