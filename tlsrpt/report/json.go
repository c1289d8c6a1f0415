package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/internal/syntax"
	"github.com/mxseal/mxseal/tlsrpt/report/internal/envelope"
)

// UnmarshalJSON reads a report in JSON, and accepts the same deviations as
// [Parse].
func (r *Report) UnmarshalJSON(data []byte) error {
	parsed, _, err := parseJSON(data)
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
	if part, err := received.convert(d); err != nil {
		return &Error{part, err}
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
	if rest := trimmed(data[decoder.InputOffset():]); len(rest) > 0 || !envelope.IsJSON(data) {
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

// parseJSON reads the first report in the JSON text of an untrusted sender, and returns
// what follows it.
func parseJSON(data []byte) (report *Report, rest []byte, err error) {
	data = trimmed(data)
	decoder := json.NewDecoder(bytes.NewReader(data))
	var first json.RawMessage
	if err := decoder.Decode(&first); err != nil {
		return nil, nil, &Error{"", notTruncated(err)}
	}
	rest = trimmed(data[decoder.InputOffset():])
	if bytes.Count(first, []byte("{")) > maxObjects || bytes.Count(first, []byte(",")) > maxElements {
		return nil, rest, ErrTooLarge
	}
	received := new(receivedReport)
	var wrongType *json.UnmarshalTypeError
	switch err := json.Unmarshal(first, received); {
	case errors.As(err, &wrongType):
		return nil, rest, &Error{wrongType.Field, fmt.Errorf("cannot unmarshal %s", wrongType.Value)}
	case err != nil:
		return nil, rest, &Error{"", err}
	}
	if err := checkNames(first); err != nil {
		return nil, rest, &Error{"", err}
	}
	report, err = received.report()
	return report, rest, err
}

// notTruncated returns an error of json.Decoder in the words of json.Unmarshal.
func notTruncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("unexpected end of JSON input")
	}
	return err
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

// The received types match the JSON that senders write. Null leaves the zero value.
type (
	receivedReport struct {
		Organization text `json:"organization-name"`
		Dates        struct {
			Start text `json:"start-datetime"`
			End   text `json:"end-datetime"`
		} `json:"date-range"`
		Contact  text           `json:"contact-info"`
		ID       text           `json:"report-id"`
		Policies []policyResult `json:"policies"`
	}
	policyResult struct {
		Policy struct {
			Type    tlsrpt.PolicyType `json:"policy-type"`
			Domain  string            `json:"policy-domain"`
			Strings oneOrMore[string] `json:"policy-string"`
			MXHosts oneOrMore[string] `json:"mx-host"`
		} `json:"policy"`
		Summary struct {
			Successes count `json:"total-successful-session-count"`
			Failures  count `json:"total-failure-session-count"`
		} `json:"summary"`
		Details oneOrMore[receivedDetail] `json:"failure-details"`
	}
	receivedDetail struct {
		Type        tlsrpt.ResultType `json:"result-type"`
		SendingIP   string            `json:"sending-mta-ip"`
		MXHost      string            `json:"receiving-mx-hostname"`
		HELO        string            `json:"receiving-mx-helo"`
		ReceivingIP string            `json:"receiving-ip"`
		Sessions    count             `json:"failed-session-count"`
		Info        string            `json:"additional-information"`
		ReasonCode  text              `json:"failure-reason-code"`
		// These are the names of drafts of RFC 8460.
		DraftInfo       string `json:"additional-info-uri"`
		DraftReasonCode text   `json:"failure-error-code"`
	}
)

func (r *receivedReport) report() (*Report, error) {
	if r.Policies == nil {
		return nil, &Error{"policies", errors.New("there are no policies")}
	}
	report := &Report{Policies: make([]PolicyResult, len(r.Policies))}
	for _, field := range []struct {
		part string
		from text
		to   *string
	}{
		{"organization-name", r.Organization, &report.Organization},
		{"contact-info", r.Contact, &report.Contact},
		{"report-id", r.ID, &report.ID},
	} {
		var err error
		if *field.to, err = field.from.get(); err != nil {
			return nil, &Error{field.part, err}
		}
	}
	var err error
	if report.Dates.Start, err = parseTime(r.Dates.Start.string); err != nil {
		return nil, &Error{"date-range.start-datetime", err}
	}
	if report.Dates.End, err = parseTime(r.Dates.End.string); err != nil {
		return nil, &Error{"date-range.end-datetime", err}
	}
	if report.Dates.End.Before(report.Dates.Start) {
		return nil, &Error{"date-range", errors.New("ends before it starts")}
	}
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
		Type: registeredPolicy(p.Policy.Type), Domain: strings.TrimSpace(p.Policy.Domain),
		MXHosts: p.Policy.MXHosts,
	}
	if len(p.Policy.Strings) > 0 { // nil for none, whether the field is there or not
		result.Policy.Strings = p.Policy.Strings
	}
	if result.Summary.Successes, err = p.Summary.Successes.get(); err != nil {
		return "summary.total-successful-session-count", err
	}
	if result.Summary.Failures, err = p.Summary.Failures.get(); err != nil {
		return "summary.total-failure-session-count", err
	}
	if len(p.Details) == 0 {
		return "", nil
	}
	result.Details = make([]Detail, len(p.Details))
	for i := range p.Details {
		if part, err := p.Details[i].convert(&result.Details[i]); err != nil {
			return fmt.Sprintf("failure-details[%d].%s", i, part), err
		}
	}
	return "", nil
}

func (d *receivedDetail) convert(detail *Detail) (part string, err error) {
	*detail = Detail{
		Type:        registeredResult(d.Type),
		SendingIP:   parseAddr(d.SendingIP),
		MXHost:      strings.TrimSpace(d.MXHost),
		HELO:        strings.TrimSpace(d.HELO),
		ReceivingIP: parseAddr(d.ReceivingIP),
	}
	if info := cmp.Or(d.Info, d.DraftInfo); info != "" {
		detail.Info = syntax.EscapeURI(info) // it has spaces in appendix B
	}
	if detail.ReasonCode, err = cmp.Or(d.ReasonCode, d.DraftReasonCode).get(); err != nil {
		return "failure-reason-code", err
	}
	if detail.Sessions, err = d.Sessions.get(); err != nil {
		return "failed-session-count", err
	}
	return "", nil
}

// registeredResult returns the registered result type that t is in another spelling, or t.
func registeredResult(t tlsrpt.ResultType) tlsrpt.ResultType {
	if spelled := tlsrpt.ResultType(respelled(string(t))); spelled.Valid() {
		return spelled
	}
	return t
}

// registeredPolicy does the same for policy types.
func registeredPolicy(t tlsrpt.PolicyType) tlsrpt.PolicyType {
	switch spelled := tlsrpt.PolicyType(respelled(string(t))); spelled {
	case tlsrpt.TLSA, tlsrpt.STS, tlsrpt.NoPolicyFound:
		return spelled
	default:
		return t
	}
}

// respelled returns s as the registry of RFC 8460 spells names.
func respelled(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "_", "-")
}
