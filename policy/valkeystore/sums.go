package valkeystore

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// The hash of a domain has these fields. <id> is the ID of a policy.
//
//	p<id>        the policy in JSON
//	s<id>        the number of successful sessions
//	f<id>        the number of failed sessions
//	d<id><JSON>  the number of sessions that failed as described in the JSON
//	#policies    the number of policies
//	#details     the number of details
//	#octets      the size of the texts of policies and details
//	#number      the part number, if the part is sealed
const (
	// maxFields limits the number of fields: three for each policy, including
	// one policy of each type that sums up others; the details, including for
	// each policy one of each result type that sums up others; and the four
	// general fields.
	maxFields = 3*(maxPolicies+3) + maxDetails + 11*(maxPolicies+3) + 4
	// maxOctets limits the size of all fields and values.
	maxOctets = maxText + maxFields*256
)

var errNoSums = errors.New("damaged: no sums")

// damagedField returns the error for a field that is not in the form in which
// it was written.
func damagedField(name string) error { return fmt.Errorf("damaged field %.120q", name) }

// decodePart decodes the reply of sumsScript and sealScript.
func decodePart(domain, number string, fields []string) (reporter.Part, error) {
	n, ok := decodeCount(number)
	switch {
	case !ok || n > 1<<31-1:
		return reporter.Part{}, fmt.Errorf("damaged part number %.20q", number)
	case n == 0 && len(fields) > 0:
		return reporter.Part{}, errors.New("damaged: no part number")
	case n == 0:
		return reporter.Part{}, nil
	}
	sums, err := decodeSums(domain, fields)
	if err != nil {
		return reporter.Part{}, err
	}
	return reporter.Part{Number: int(n), Sums: sums}, nil
}

// storedSums is the decoded content of a hash.
type storedSums struct {
	policies map[string]*storedPolicy // by ID
	about    map[string]int64
	details  int64
}

type storedPolicy struct {
	report.PolicyResult
	parts map[byte]bool // which of its fields exist
}

// decodeSums decodes a hash. The fields are names and values in turn.
func decodeSums(domain string, fields []string) ([]report.PolicyResult, error) {
	s := storedSums{policies: make(map[string]*storedPolicy), about: make(map[string]int64)}
	if len(fields)%2 != 0 {
		return nil, errNoSums
	}
	for i := 0; i < len(fields); i += 2 {
		if !s.decode(fields[i], fields[i+1]) {
			return nil, damagedField(fields[i])
		}
	}
	switch {
	case s.about["#policies"] != int64(len(s.policies)):
		return nil, damagedField("#policies")
	case s.about["#details"] != s.details:
		return nil, damagedField("#details")
	}
	var results []report.PolicyResult
	for id, p := range s.policies {
		if name := p.missing(); name != 0 {
			return nil, damagedField(string(name) + id)
		}
		results = append(results, p.PolicyResult)
	}
	if len(results) == 0 {
		return nil, errNoSums
	}
	return reporter.MergeResults(domain, nil, results), nil
}

// missing returns the letter of a required field that is missing or does not
// match the others, or 0.
func (p *storedPolicy) missing() byte {
	for _, kind := range []byte("psf") {
		if !p.parts[kind] {
			return kind
		}
	}
	if p.Summary == (report.Summary{}) {
		return 's' // a policy is stored with its first session
	}
	for i := range p.Details {
		if p.Summary.MaxSessions(p.Details[i].Type) == 0 {
			return 'f'
		}
	}
	return 0
}

// decode decodes a field and reports whether it is valid.
func (s *storedSums) decode(name, value string) bool {
	switch name {
	case "#policies", "#details", "#octets", "#number":
		n, ok := decodeCount(value)
		s.about[name] = n
		return ok
	}
	if len(name) < 1+idOctets {
		return false
	}
	kind, id, rest := name[0], name[1:1+idOctets], name[1+idOctets:]
	p := s.policies[id]
	if p == nil {
		p = &storedPolicy{parts: make(map[byte]bool)}
		s.policies[id] = p
	}
	p.parts[kind] = true
	if kind == 'd' {
		d, ok := decodeDetail(rest, value)
		p.Details = append(p.Details, d)
		s.details++
		return ok
	}
	return rest == "" && p.decode(kind, id, value)
}

func (p *storedPolicy) decode(kind byte, id, value string) (ok bool) {
	switch kind {
	case 'p':
		p.Policy, ok = decodePolicy(id, value)
	case 's':
		p.Summary.Successes, ok = decodeCount(value)
	case 'f':
		p.Summary.Failures, ok = decodeCount(value)
	}
	return ok
}

func decodePolicy(id, text string) (tlsrpt.Policy, bool) {
	var r report.PolicyResult
	if policyID(text) != id || r.UnmarshalJSON([]byte(text)) != nil {
		return tlsrpt.Policy{}, false
	}
	return r.Policy, policyForm(r.Policy).text == text
}

func decodeDetail(text, sessions string) (d report.Detail, ok bool) {
	if d.UnmarshalJSON([]byte(text)) != nil || detailForm(d) != text || !d.Type.Valid() {
		return report.Detail{}, false
	}
	d.Sessions, ok = decodeCount(sessions)
	return d, ok && d.Sessions > 0
}

// decodeCount decodes a count in the form in which the scripts write it.
func decodeCount(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && n <= maxCount && number(n) == text
}
