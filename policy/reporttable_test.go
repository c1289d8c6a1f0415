package policy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// What a report says about a policy of a session depends on what the policy demands of
// it. RFC 8460 section 4.4: "policy-type" is "the type of policy that was applied".
type demand string

const (
	danePKIX demand = "tlsa: a TLSA record matches"
	daneTLS  demand = "tlsa: TLS"               // no record is usable (RFC 7672 section 2.2)
	webPKI   demand = "sts: the web PKI"        // enforced, or observed in testing mode
	unlisted demand = "sts: the host is listed" // and it is not
	nothing  demand = "no-policy-found"
	bogus    demand = "tlsa: signatures that are valid" // and they are not
	required demand = "tlsa: what the operator requires"
)

// reportRow is a row of the decision table.
type reportRow struct {
	name       string
	mx         dnssec.Status
	tlsa       string // "usable", "unusable", "none", "bogus", "silent"
	mode       mtasts.Mode
	isUnlisted bool
	both       bool // Precedence: RequireBoth
	required   bool // RequireDANE
	refused    bool
	applied    []demand
}

// isRefusedByDANE reports whether DANE refuses the host, in a domain whose policy was looked up
// all the same: with secure MX records and TLSA records, DANE decides without it.
func (r *reportRow) isRefusedByDANE() bool {
	isAsked := r.mode != mtasts.None && (r.mx != dnssec.Secure || r.tlsa == "none")
	return r.refused && isAsked && !slices.Contains(r.applied, unlisted)
}

// reportRows are the rows of the decision table, and the policies that are applied in each
// of them. RFC 8460 is silent on policies that exist and are not applied, because another
// one decides: they have no entry, so that a report says nothing about what nobody tried.
var reportRows = []reportRow{
	{name: "DANE alone", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.None, applied: []demand{danePKIX}},
	{name: "DANE decides, enforce", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Enforce, applied: []demand{danePKIX}},
	{name: "DANE decides, enforce, not listed", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Enforce, isUnlisted: true, applied: []demand{danePKIX}},
	{name: "DANE decides, testing", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Testing, applied: []demand{danePKIX}},
	{name: "DANE decides, testing, not listed", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Testing, isUnlisted: true, applied: []demand{danePKIX}},
	{name: "both, enforce", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Enforce, both: true, applied: []demand{danePKIX, webPKI}},
	{name: "both, enforce, not listed", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Enforce, both: true, isUnlisted: true, refused: true, applied: []demand{unlisted}},
	{name: "both, testing", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Testing, both: true, applied: []demand{danePKIX, webPKI}},
	{name: "both, testing, not listed", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.Testing, both: true, isUnlisted: true, applied: []demand{danePKIX, unlisted}},
	{name: "both, no policy", mx: dnssec.Secure, tlsa: "usable", mode: mtasts.None, both: true, applied: []demand{danePKIX}},
	{name: "unusable", mx: dnssec.Secure, tlsa: "unusable", mode: mtasts.None, applied: []demand{daneTLS}},
	{name: "unusable, testing", mx: dnssec.Secure, tlsa: "unusable", mode: mtasts.Testing, applied: []demand{daneTLS, webPKI}},
	{name: "unusable, enforce", mx: dnssec.Secure, tlsa: "unusable", mode: mtasts.Enforce, applied: []demand{daneTLS, webPKI}},
	{name: "unusable, enforce, not listed", mx: dnssec.Secure, tlsa: "unusable", mode: mtasts.Enforce, isUnlisted: true, refused: true, applied: []demand{unlisted}},
	{name: "enforce", mx: dnssec.Insecure, tlsa: "none", mode: mtasts.Enforce, applied: []demand{webPKI}},
	{name: "enforce, secure MX", mx: dnssec.Secure, tlsa: "none", mode: mtasts.Enforce, applied: []demand{webPKI}},
	{name: "enforce, both", mx: dnssec.Secure, tlsa: "none", mode: mtasts.Enforce, both: true, applied: []demand{webPKI}},
	{name: "enforce, not listed", mx: dnssec.Insecure, tlsa: "none", mode: mtasts.Enforce, isUnlisted: true, refused: true, applied: []demand{unlisted}},
	{name: "testing", mx: dnssec.Insecure, tlsa: "none", mode: mtasts.Testing, applied: []demand{webPKI}},
	{name: "testing, not listed", mx: dnssec.Secure, tlsa: "none", mode: mtasts.Testing, isUnlisted: true, applied: []demand{unlisted}},
	{name: "no policy", mx: dnssec.Insecure, tlsa: "none", mode: mtasts.None, applied: []demand{nothing}},
	{name: "no policy, secure MX", mx: dnssec.Secure, tlsa: "none", mode: mtasts.None, applied: []demand{nothing}},
	{name: "insecure MX, usable", mx: dnssec.Insecure, tlsa: "usable", mode: mtasts.None, applied: []demand{danePKIX}},
	{name: "insecure MX, usable, testing", mx: dnssec.Insecure, tlsa: "usable", mode: mtasts.Testing, applied: []demand{danePKIX, webPKI}},
	{name: "insecure MX, usable, testing, not listed", mx: dnssec.Insecure, tlsa: "usable", mode: mtasts.Testing, isUnlisted: true, applied: []demand{danePKIX, unlisted}},
	{name: "insecure MX, usable, enforce", mx: dnssec.Insecure, tlsa: "usable", mode: mtasts.Enforce, applied: []demand{danePKIX, webPKI}},
	{name: "insecure MX, usable, enforce, not listed", mx: dnssec.Insecure, tlsa: "usable", mode: mtasts.Enforce, isUnlisted: true, refused: true, applied: []demand{unlisted}},
	{name: "insecure MX, unusable", mx: dnssec.Insecure, tlsa: "unusable", mode: mtasts.None, applied: []demand{daneTLS}},
	{name: "insecure MX, unusable, testing", mx: dnssec.Insecure, tlsa: "unusable", mode: mtasts.Testing, applied: []demand{daneTLS, webPKI}},
	{name: "insecure MX, unusable, enforce", mx: dnssec.Insecure, tlsa: "unusable", mode: mtasts.Enforce, applied: []demand{daneTLS, webPKI}},
	// "No valid records were returned from the recursive resolver" (section 4.3.2.1). A
	// lookup that ends in a timeout says nothing about the domain (section 4.3.4).
	{name: "TLSA bogus", mx: dnssec.Secure, tlsa: "bogus", mode: mtasts.None, refused: true, applied: []demand{bogus}},
	{name: "TLSA bogus, enforce", mx: dnssec.Secure, tlsa: "bogus", mode: mtasts.Enforce, refused: true, applied: []demand{bogus}},
	{name: "insecure MX, TLSA bogus, enforce", mx: dnssec.Insecure, tlsa: "bogus", mode: mtasts.Enforce, refused: true, applied: []demand{bogus}},
	{name: "TLSA silent", mx: dnssec.Secure, tlsa: "silent", mode: mtasts.None, refused: true},
	{name: "TLSA silent, enforce", mx: dnssec.Insecure, tlsa: "silent", mode: mtasts.Enforce, refused: true},
	// "The sending system is configured to require DANE TLSA records" (section 4.3.2.1).
	{name: "DANE required", mx: dnssec.Secure, tlsa: "none", mode: mtasts.None, required: true, refused: true, applied: []demand{required}},
	{name: "DANE required, enforce", mx: dnssec.Secure, tlsa: "none", mode: mtasts.Enforce, required: true, refused: true, applied: []demand{required}},
}

// certificate is what a server presents: does a TLSA record match, and is it valid in the
// web PKI for the name of the host?
type certificate struct{ matches, isValid bool }

// ending is how a session ends. Section 4.3.1 lists the failures of a negotiation. They
// count for every policy that is applied: each of them demands TLS, and the RFC has no
// failure that concerns none. Success counts as well (section 4.2.1).
type ending struct {
	name string
	step Step
	err  error
	// presents is the certificate of the server, in a handshake that is completed or ends
	// with the verification; nil without one.
	presents *certificate
	version  uint16 // of TLS; 0 means 1.3
	// fails is the result for all policies.
	fails tlsrpt.ResultType
	// isSilent is true if the ending says nothing about TLS: network errors (section 4.3.4),
	// and replies about other things.
	isSilent bool
}

func reportEndings() []ending {
	reply := func(code int) error { return &textproto.Error{Code: code, Msg: "no"} }
	alert := &net.OpError{Op: "remote error", Err: tls.AlertError(40)}
	endings := []ending{
		{name: "no connection", step: NotConnected, err: &net.OpError{Op: "dial", Err: errors.New("refused")}, isSilent: true},
		{name: "greeting 554", step: Greeting, err: reply(554), isSilent: true},
		{name: "greeting lost", step: Greeting, err: io.EOF, isSilent: true},
		{name: "EHLO 550", step: EHLO, err: reply(550), isSilent: true},
		{name: "not offered", step: NotOffered, fails: tlsrpt.STARTTLSNotSupported},
		{name: "STARTTLS 454", step: StartTLSRefused, err: reply(454), fails: tlsrpt.STARTTLSNotSupported},
		{name: "STARTTLS 502", step: StartTLSRefused, err: reply(502), fails: tlsrpt.STARTTLSNotSupported},
		{name: "STARTTLS 421", step: StartTLSRefused, err: reply(421), isSilent: true},
		{name: "alert", step: Handshake, err: alert, fails: tlsrpt.ValidationFailure},
		{name: "handshake lost", step: Handshake, err: io.ErrUnexpectedEOF, fails: tlsrpt.ValidationFailure},
		{name: "handshake without answer", step: Handshake, err: context.DeadlineExceeded, isSilent: true},
	}
	for _, presents := range []certificate{{true, true}, {true, false}, {false, true}, {false, false}} {
		name := fmt.Sprintf("certificate %+v", presents)
		endings = append(endings,
			ending{name: name, step: Done, presents: &presents},
			ending{name: name + ", EHLO 550", step: EHLO, err: reply(550), presents: &presents},
			ending{name: name + ", no REQUIRETLS", step: RequireTLSNotOffered, presents: &presents},
			ending{name: name + ", TLS 1.1", step: Done, presents: &presents, version: tls.VersionTLS11},
		)
	}
	return endings
}

// want returns the result type for a policy; empty means success.
func (e *ending) want(d demand) tlsrpt.ResultType {
	switch {
	case d == bogus:
		return tlsrpt.DNSSECInvalid
	case d == required:
		return tlsrpt.DANERequired
	case d == unlisted:
		// RFC 8461 section 4.1 validates the host before the certificate. Section 4.3.1
		// has "the MX hostname does not match" under this type; RFC 8460 has no other.
		return tlsrpt.CertificateHostMismatch
	case e.presents == nil:
		return e.fails
	case e.version == tls.VersionTLS11 && d != nothing:
		return tlsrpt.ValidationFailure // RFC 8461 section 4.2 and RFC 7672 section 8: TLS 1.2
	case d == danePKIX && !e.presents.matches:
		return tlsrpt.TLSAInvalid
	case d == webPKI && !e.presents.isValid:
		return tlsrpt.CertificateNotTrusted
	}
	return ""
}

// Every row of the decision table, with every way in which a session can end, and the entry
// of each policy in the report: R2, RPT-24, RPT-25, RPT-29, RPT-30.
func TestEveryEndIsReported(t *testing.T) { checkEveryEnd(t, false) }

// The same while the refresh of the policy fails, and the sender goes on with the one that it
// remembers. The failure is in each entry of type sts (section 4.3.2.2). A session that met the
// policy counts as a success all the same (RPT-29), and one that did not fails for two reasons
// (RPT-25).
func TestEveryEndIsReportedWhileRefreshFails(t *testing.T) { checkEveryEnd(t, true) }

func checkEveryEnd(t *testing.T, refreshFails bool) {
	t.Parallel()
	root, strange := testpki.Root(t, "root"), testpki.Root(t, "strange root")
	valid := root.Server(t, []string{"mx.example.org"})
	invalid := strange.Server(t, []string{"mx.example.org"})
	roots := x509.NewCertPool()
	roots.AddCert(root.Cert)
	otherKey := strings.Repeat("00", sha256.Size)
	for _, row := range reportRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, end := range reportEndings() {
				presented, tlsa := valid, "3 1 1 "+otherKey
				if end.presents != nil {
					if !end.presents.isValid {
						presented = invalid
					}
					if end.presents.matches {
						key := sha256.Sum256(presented.Cert.RawSubjectPublicKeyInfo)
						tlsa = "3 1 1 " + hex.EncodeToString(key[:])
					}
				}
				host := reportHost(t, row.mx, row.tlsa, tlsa, row.mode, row.isUnlisted, refreshFails, Config{
					RootCAs: roots, RequireDANE: row.required,
					Precedence: map[bool]Precedence{false: DANEFirst, true: RequireBoth}[row.both],
				})
				if (host.Level == Refused) != row.refused {
					t.Fatalf("the level is %v: %s", host.Level, host.Why)
				}
				step, state, err := end.step, (*tls.ConnectionState)(nil), end.err
				if end.presents != nil {
					state = &tls.ConnectionState{
						Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: []*x509.Certificate{presented.Cert},
					}
					if end.version != 0 {
						state.Version = end.version
					}
					if failure := host.Verify(*state); failure != nil {
						step, err = Handshake, failure
					}
				}
				session, _ := host.Attempted(step, state, err)
				var want []string
				for _, d := range row.applied {
					if !end.isSilent || row.refused {
						policyType, _, _ := strings.Cut(string(d), ":")
						entry := fmt.Sprintf("%s %s", policyType, end.want(d))
						if refreshFails && policyType == "sts" {
							if entry += "sts-policy-fetch-error"; end.want(d) == "" {
								entry += " met"
							}
						}
						want = append(want, entry)
					}
				}
				if refreshFails && row.isRefusedByDANE() {
					want = append(want, "sts sts-policy-fetch-error") // and the policy was not tried
				}
				if got := reportEntries(t, &session); !slices.Equal(got, want) {
					t.Errorf("%s: the entries are %q, want %q", end.name, got, want)
				}
			}
		})
	}
}

// reportEntries returns the type and result of each outcome, and checks its policy.
func reportEntries(t *testing.T, s *tlsrpt.Session) (entries []string) {
	t.Helper()
	for _, o := range s.Outcomes {
		result := tlsrpt.ResultType("")
		for _, f := range o.Failures {
			result += f.Type
		}
		entry := fmt.Sprintf("%s %s", o.Policy.Type, result)
		if result != "" && !o.Failed() {
			entry += " met"
		}
		entries = append(entries, entry)
		p := o.Policy
		switch {
		case p.Type == tlsrpt.TLSA && result != tlsrpt.DNSSECInvalid && result != tlsrpt.DANERequired:
			if p.Domain != "mx.example.org" || len(p.Strings) != 1 || p.MXHosts != nil {
				t.Errorf("policy %+v", p)
			}
		case p.Type == tlsrpt.TLSA: // no record is known
			if p.Domain != "mx.example.org" || len(p.Strings) != 0 || p.MXHosts != nil {
				t.Errorf("policy %+v", p)
			}
		case p.Type == tlsrpt.STS:
			if p.Domain != "example.org" || len(p.Strings) != 4 || len(p.MXHosts) != 1 {
				t.Errorf("policy %+v", p)
			}
		case p.Domain != "example.org" || p.Strings != nil || p.MXHosts != nil:
			t.Errorf("policy %+v", p)
		}
	}
	if s.Domain != "example.org" || s.MXHost != "mx.example.org" || s.Time.IsZero() {
		t.Errorf("session %+v", s)
	}
	return entries
}

// reportHost returns the host of a domain in a row of the table.
func reportHost(t *testing.T, mx dnssec.Status, tlsa, record string, mode mtasts.Mode, isUnlisted, refreshFails bool, config Config) *Host {
	t.Helper()
	f := newFakeDNS()
	f.now = func() time.Time { return testpki.Now }
	f.add(t, mx, "example.org. MX 1 mx.example.org.")
	const name = "_25._tcp.mx.example.org"
	var dns dnssec.Resolver = f
	switch tlsa {
	case "usable":
		f.addHost(t, dnssec.Secure, "mx.example.org", record)
	case "unusable":
		f.addHost(t, dnssec.Secure, "mx.example.org", "0 0 1 ab")
	case "none":
		f.addHost(t, dnssec.Secure, "mx.example.org")
	default:
		f.addHost(t, dnssec.Secure, "mx.example.org")
		failed := &dnssec.Error{Name: name + ".", Type: dnssec.TypeTLSA, Reason: dnssec.Timeout}
		if tlsa == "bogus" {
			failed.Reason, failed.Status = dnssec.SignatureExpired, dnssec.Bogus
		}
		dns = resolverFunc(func(ctx context.Context, asked string, qtype dnssec.Type) (*dnssec.Answer, error) {
			if qtype == dnssec.TypeTLSA {
				return nil, failed
			}
			return f.Lookup(ctx, asked, qtype)
		})
	}
	store := new(changingStore)
	pattern := "mx.example.org"
	if isUnlisted {
		pattern = "other.example.org"
	}
	store.set(mode, pattern)
	store.entry.Fetched, store.entry.Expires, store.entry.NextCheck = testpki.Now, testpki.Now.Add(7*24*time.Hour), testpki.Now.Add(time.Hour)
	if refreshFails {
		store.failRefresh(testpki.Now.Add(-time.Minute))
	}
	config.DNS, config.Store, config.Now = dns, store, f.now
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return resolve(t, r, "example.org").Hosts[0]
}
