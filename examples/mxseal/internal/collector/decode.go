// Package collector receives the sessions that Postfix 3.10 and later report with libtlsrpt: one datagram
// for each connection.
package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
)

// ErrVersion means that a datagram has a version of the format that is not known.
var ErrVersion = errors.New("unknown version of the datagram")

// maxPolicies bounds the policies of one datagram. Postfix sends one.
const maxPolicies = 16

// datagram is the JSON of libtlsrpt.
type datagram struct {
	Version  *string  `json:"dpv"` // absent in libtlsrpt before 0.5.0rc2
	Domain   string   `json:"d"`
	Policies []result `json:"policies"`
}

type result struct {
	Type     int       `json:"policy-type"`
	Domain   string    `json:"policy-domain"`
	Strings  []string  `json:"policy-string"`
	MXHosts  []string  `json:"mx-host"`
	Failures []failure `json:"failure-details"`
	Failed   *int      `json:"f"`
}

type failure struct {
	Code        int    `json:"c"`
	SendingIP   string `json:"s"`
	MXHost      string `json:"n"`
	HELO        string `json:"h"`
	ReceivingIP string `json:"r"`
	ReasonCode  string `json:"f"`
}

var policyTypes = map[int]tlsrpt.PolicyType{1: tlsrpt.TLSA, 2: tlsrpt.STS, 9: tlsrpt.NoPolicyFound}

var resultTypes = map[int]tlsrpt.ResultType{
	201: tlsrpt.STARTTLSNotSupported, 202: tlsrpt.CertificateHostMismatch, 203: tlsrpt.CertificateNotTrusted, 204: tlsrpt.CertificateExpired,
	205: tlsrpt.ValidationFailure, 301: tlsrpt.STSPolicyFetchError, 302: tlsrpt.STSPolicyInvalid, 303: tlsrpt.STSWebPKIInvalid,
	304: tlsrpt.TLSAInvalid, 305: tlsrpt.DNSSECInvalid, 306: tlsrpt.DANERequired,
}

// internalError is the code for an error of the sender itself, which is not reported.
const internalError = 901

// decode returns the session of a datagram, or nil if it is not to be reported. The datagram repeats what
// servers on the Internet said, so every text in it is hostile.
func decode(octets []byte, now time.Time) (*tlsrpt.Session, error) {
	var d datagram
	if err := json.Unmarshal([]byte(strings.ToValidUTF8(string(octets), "\uFFFD")), &d); err != nil {
		return nil, err
	}
	if d.Version != nil && *d.Version != "1" {
		return nil, ErrVersion
	}
	domain, err := names.Canonical(d.Domain)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the domain: %w", err)
	case len(d.Policies) == 0 || len(d.Policies) > maxPolicies:
		return nil, fmt.Errorf("%d policies", len(d.Policies))
	}
	s := &tlsrpt.Session{Domain: domain, Time: now}
	for _, each := range d.Policies {
		outcome, counts, err := each.outcome(s)
		if err != nil {
			return nil, err
		}
		if counts {
			s.Outcomes = append(s.Outcomes, outcome)
		}
	}
	if s.Outcomes == nil {
		return nil, nil
	}
	return s, nil
}

// outcome returns what happened under one policy, and sets the two ends of the connection in the session.
// counts is false if the sender itself failed.
func (r result) outcome(s *tlsrpt.Session) (o tlsrpt.Outcome, counts bool, err error) {
	kind, known := policyTypes[r.Type]
	if !known {
		return o, false, fmt.Errorf("policy type %d", r.Type)
	}
	domain, err := names.Canonical(r.Domain)
	if err != nil {
		return o, false, fmt.Errorf("the policy domain: %w", err)
	}
	o.Policy = tlsrpt.Policy{Type: kind, Domain: domain, Strings: r.Strings, MXHosts: r.MXHosts}
	switch {
	case r.Failed == nil || *r.Failed != 0 && *r.Failed != 1:
		return o, false, errors.New("the policy has no result")
	case *r.Failed == 0:
		return o, true, nil
	}
	for _, f := range r.Failures {
		kind, known := resultTypes[f.Code]
		switch {
		case f.Code == internalError:
			continue
		case !known:
			return o, false, fmt.Errorf("failure code %d", f.Code)
		}
		o.Failures = append(o.Failures, tlsrpt.Failure{Type: kind, ReasonCode: names.Printable(f.ReasonCode, maxReason)})
		f.describe(s)
	}
	return o, o.Failures != nil, nil
}

// maxReason bounds a failure-reason-code in octets.
const maxReason = 255

// describe sets the two ends of the connection in the session.
func (f failure) describe(s *tlsrpt.Session) {
	if host, err := names.Canonical(f.MXHost); err == nil {
		s.MXHost = host
	}
	s.HELO = helo(f.HELO)
	s.SendingIP, s.ReceivingIP = address(f.SendingIP), address(f.ReceivingIP)
}

// helo returns the name of the server in its reply to EHLO, which Postfix reports as a whole.
func helo(reply string) string {
	line, _, _ := strings.Cut(reply, "\n")
	if len(line) > 4 && (line[3] == '-' || line[3] == ' ') && names.IsAlphanumeric(line[:3]) && line[0] == '2' {
		line = line[4:]
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	return names.Printable(words[0], 255)
}

func address(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr.WithZone("").Unmap()
}
