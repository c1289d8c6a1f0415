package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/internal/syntax"
)

// UnmarshalJSON reads a report in JSON, and accepts the same deviations as
// [Parse].
func (r *Report) UnmarshalJSON(data []byte) error {
	parsed, err := parseJSON(data)
	if err == nil {
		*r = *parsed
	}
	return err
}

// UnmarshalJSON reads what MarshalJSON of PolicyResult has written, and returns an
// error for unknown names. Its input must come from a trusted store: the size is
// not bounded.
func (p *PolicyResult) UnmarshalJSON(data []byte) error {
	received := new(policyResult)
	if err := decodeStored(data, received); err != nil {
		return &Error{"policies", err}
	}
	*p = PolicyResult{}
	if part, err := received.convert(p); err != nil {
		return &Error{part, err}
	}
	return nil
}

// UnmarshalJSON reads what MarshalJSON of Detail has written, in the same way as
// that of [PolicyResult].
func (d *Detail) UnmarshalJSON(data []byte) error {
	received := new(receivedDetail)
	if err := decodeStored(data, received); err != nil {
		return &Error{"failure-details", err}
	}
	if err := received.convert(d); err != nil {
		return &Error{"failed-session-count", err}
	}
	return nil
}

// decodeStored decodes one JSON object into v.
func decodeStored(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(data[decoder.InputOffset():]); len(rest) > 0 || !isJSON(data) {
		return errors.New("not a single JSON object")
	}
	return nil
}

// maxObjects and maxElements limit the content of a JSON text, because the parsed
// values of "{}" and "" take many times the memory of their text.
const (
	maxObjects  = 1 << 17
	maxElements = 1 << 20
)

// parseJSON reads the JSON text of a report from an untrusted sender.
func parseJSON(data []byte) (*Report, error) {
	data = trimmed(data)
	if bytes.Count(data, []byte("{")) > maxObjects || bytes.Count(data, []byte(",")) > maxElements {
		return nil, ErrTooLarge
	}
	received := new(receivedReport)
	if err := json.Unmarshal(data, received); err != nil {
		return nil, &Error{"", err}
	}
	if err := checkNames(data); err != nil {
		return nil, &Error{"", err}
	}
	return received.report()
}

// checkNames returns an error if an object in a JSON text has a name twice (RFC 7493
// section 2.3): package json would mix the two values. Names that differ in case
// only are the same name for package json. The text must be valid.
func checkNames(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	var open []map[string]bool // the names of each open object; nil for an array
	isName := false            // the next token is a name, or ends an object
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name, _ := token.(string)
		switch {
		case token == json.Delim('{'):
			open = append(open, make(map[string]bool))
		case token == json.Delim('['):
			open = append(open, nil)
		case token == json.Delim('}') || token == json.Delim(']'):
			open = open[:len(open)-1]
		case isName:
			known, folded := open[len(open)-1], strings.ToLower(strings.ToUpper(name))
			if known[folded] {
				return fmt.Errorf("the name %.64q is there twice", name)
			}
			known[folded] = true
			isName = false
			continue
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}

// The received types match the JSON that senders write. Null leaves the zero
// value.
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
			Type    tlsrpt.PolicyType `json:"policy-type"`
			Domain  string            `json:"policy-domain"`
			Strings oneOrMore         `json:"policy-string"`
			MXHosts oneOrMore         `json:"mx-host"`
		} `json:"policy"`
		Summary struct {
			Successes json.Number `json:"total-successful-session-count"`
			Failures  json.Number `json:"total-failure-session-count"`
		} `json:"summary"`
		Details []receivedDetail `json:"failure-details"`
	}
	receivedDetail struct {
		Type        tlsrpt.ResultType `json:"result-type"`
		SendingIP   string            `json:"sending-mta-ip"`
		MXHost      string            `json:"receiving-mx-hostname"`
		HELO        string            `json:"receiving-mx-helo"`
		ReceivingIP string            `json:"receiving-ip"`
		Sessions    json.Number       `json:"failed-session-count"`
		Info        string            `json:"additional-information"`
		ReasonCode  string            `json:"failure-reason-code"`
	}
)

// oneOrMore is an array that may also be written as its only element. RFC 8460
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
		return nil, &Error{"policies", errors.New("there are no policies")}
	}
	report := &Report{Organization: r.Organization, Contact: r.Contact, ID: r.ID}
	var err error
	if report.Dates.Start, err = parseTime(r.Dates.Start); err != nil {
		return nil, &Error{"date-range.start-datetime", err}
	}
	if report.Dates.End, err = parseTime(r.Dates.End); err != nil {
		return nil, &Error{"date-range.end-datetime", err}
	}
	report.Policies = make([]PolicyResult, len(r.Policies))
	for i := range r.Policies {
		if part, err := r.Policies[i].convert(&report.Policies[i]); err != nil {
			return nil, &Error{fmt.Sprintf("policies[%d].%s", i, part), err}
		}
	}
	return report, nil
}

// convert writes p to result. If it returns an error, part is the part that is
// wrong.
func (p *policyResult) convert(result *PolicyResult) (part string, err error) {
	result.Policy = tlsrpt.Policy{
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
		detail.Info = syntax.EscapeURI(d.Info) // it has spaces in appendix B
	}
	detail.Sessions, err = parseCount(d.Sessions)
	return err
}

// timeLayouts are those of RFC 3339 section 5.6, the same without a zone, and
// dates.
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

// parseAddr returns the zero Addr for a malformed address. Some senders write
// "unknown".
func parseAddr(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.Trim(s, "[] "))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// parseCount reads an integer. Some senders write "5" or 5.0. An absent count is
// zero.
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
