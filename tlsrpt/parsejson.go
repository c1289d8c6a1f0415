package tlsrpt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// UnmarshalJSON reads a report in JSON as liberally as [ParseReport].
func (r *Report) UnmarshalJSON(data []byte) error {
	parsed, err := parseJSON(data)
	if err == nil {
		*r = *parsed
	}
	return err
}

// UnmarshalJSON reads an element of a report's policies, which must not be from
// strangers: its size is not bounded.
func (p *PolicyResult) UnmarshalJSON(data []byte) error {
	plain := plainJSON{string(data)}
	received := new(policyResult)
	if !plain.result(received) || !plain.isAtEnd() {
		return errors.New("tlsrpt: this is no element of policies")
	}
	*p = PolicyResult{}
	if part, err := received.convert(p); err != nil {
		return invalid(part, "%v", err)
	}
	return nil
}

// UnmarshalJSON reads an element of a report's failure-details, as that of
// PolicyResult does.
func (d *Detail) UnmarshalJSON(data []byte) error {
	plain := plainJSON{string(data)}
	received := new(receivedDetail)
	if !plain.detail(received) || !plain.isAtEnd() {
		return errors.New("tlsrpt: this is no element of failure-details")
	}
	return received.convert(d)
}

// parseJSON reads the JSON of a report.
func parseJSON(data []byte) (*Report, error) {
	data = trimmed(data)
	if bytes.Count(data, []byte("{")) > maxObjects || bytes.Count(data, []byte(",")) > maxElements {
		return nil, ErrReportTooLarge
	}
	received, ok := readPlain(string(data))
	if !ok {
		received = new(receivedReport)
		if err := json.Unmarshal(data, received); err != nil {
			return nil, fmt.Errorf("tlsrpt: report: %w", err)
		}
	}
	return received.report()
}

// The received types are the report as strangers write it. Null is the zero
// value everywhere.
type (
	receivedReport struct {
		Organization string `json:"organization-name"`
		Dates        struct {
			Start string `json:"start-datetime"`
			End   string `json:"end-datetime"`
		} `json:"date-range"`
		Contact  string         `json:"contact-info"`
		ID       string         `json:"report-id"`
		Policies []policyResult `json:"policies"`
	}
	policyResult struct {
		Policy struct {
			Type    PolicyType `json:"policy-type"`
			Domain  string     `json:"policy-domain"`
			Strings oneOrMore  `json:"policy-string"`
			MXHosts oneOrMore  `json:"mx-host"`
		} `json:"policy"`
		Summary struct {
			Successes json.Number `json:"total-successful-session-count"`
			Failures  json.Number `json:"total-failure-session-count"`
		} `json:"summary"`
		Details []receivedDetail `json:"failure-details"`
	}
	receivedDetail struct {
		Type        ResultType  `json:"result-type"`
		SendingIP   string      `json:"sending-mta-ip"`
		MXHost      string      `json:"receiving-mx-hostname"`
		HELO        string      `json:"receiving-mx-helo"`
		ReceivingIP string      `json:"receiving-ip"`
		Sessions    json.Number `json:"failed-session-count"`
		Info        string      `json:"additional-information"`
		ReasonCode  string      `json:"failure-reason-code"`
	}
)

// oneOrMore is an array that may be written as its only element: RFC 8460 itself
// has mx-host as an array in section 4.4 and as a string in appendix B.
type oneOrMore []string

func (l *oneOrMore) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return json.Unmarshal(data, (*[]string)(l))
	}
	*l = make([]string, 1)
	return json.Unmarshal(data, &(*l)[0])
}

func (r *receivedReport) report() (*Report, error) {
	if r.Policies == nil {
		return nil, errors.New("tlsrpt: report: there are no policies")
	}
	report := &Report{Organization: r.Organization, Contact: r.Contact, ID: r.ID}
	var err error
	if report.Dates.Start, err = parseTime(r.Dates.Start); err != nil {
		return nil, invalid("date-range.start-datetime", "%v", err)
	}
	if report.Dates.End, err = parseTime(r.Dates.End); err != nil {
		return nil, invalid("date-range.end-datetime", "%v", err)
	}
	report.Policies = make([]PolicyResult, len(r.Policies))
	for i := range r.Policies {
		if part, err := r.Policies[i].convert(&report.Policies[i]); err != nil {
			return nil, invalid(fmt.Sprintf("policies[%d].%s", i, part), "%v", err)
		}
	}
	return report, nil
}

// convert writes p to result. With an error it says in which part that is.
func (p *policyResult) convert(result *PolicyResult) (part string, err error) {
	result.Policy = Policy{
		Type: p.Policy.Type, Domain: p.Policy.Domain,
		Strings: p.Policy.Strings, MXHosts: p.Policy.MXHosts,
	}
	if result.Summary.Successes, err = parseCount(p.Summary.Successes); err != nil {
		return "summary.total-successful-session-count", err
	}
	if result.Summary.Failures, err = parseCount(p.Summary.Failures); err != nil {
		return "summary.total-failure-session-count", err
	}
	if len(p.Details) == 0 {
		return "", nil
	}
	result.Details = make([]Detail, len(p.Details))
	for i := range p.Details {
		if err := p.Details[i].convert(&result.Details[i]); err != nil {
			return fmt.Sprintf("failure-details[%d].failed-session-count", i), err
		}
	}
	return "", nil
}

func (d *receivedDetail) convert(detail *Detail) (err error) {
	*detail = Detail{
		Type:        d.Type,
		SendingIP:   parseAddr(d.SendingIP),
		MXHost:      d.MXHost,
		HELO:        d.HELO,
		ReceivingIP: parseAddr(d.ReceivingIP),
		ReasonCode:  d.ReasonCode,
	}
	if d.Info != "" {
		detail.Info = escapeURI(d.Info) // in appendix B it has spaces
	}
	detail.Sessions, err = parseCount(d.Sessions)
	return err
}

// timeLayouts are those of RFC 3339 section 5.6, then without a zone, and days.
var timeLayouts = [...]string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05",
	time.DateOnly,
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, strings.ToUpper(strings.TrimSpace(s))); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.64q is not a time", s)
}

// parseAddr returns the zero Addr for what is no address. Some senders write
// "unknown".
func parseAddr(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.Trim(s, "[] "))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// parseCount reads an integer, of which some senders make "5" or 5.0. An absent
// one is zero.
func parseCount(n json.Number) (int64, error) {
	if n == "" {
		return 0, nil
	}
	if count, err := strconv.ParseInt(string(n), 10, 64); err == nil && isCount(count) {
		return count, nil
	}
	count, err := strconv.ParseFloat(string(n), 64)
	if err != nil || count < 0 || count > maxCount || count != math.Trunc(count) {
		return 0, fmt.Errorf("%.64q is not a count", string(n))
	}
	return int64(count), nil
}
