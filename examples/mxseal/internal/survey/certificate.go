package survey

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/certcode"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Certificate is a certificate that a server presented.
type Certificate struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Names   []string  `json:"names,omitempty"`
	Expires time.Time `json:"expires"`
}

// Record is a TLSA record with its verdict.
type Record struct {
	Record  string `json:"record"`
	Matches bool   `json:"matches"`
	How     string `json:"how"`
}

// inspect compares a TLS session with the plan.
func (s *Surveyor) inspect(r *Result, session *Session, host *policy.Host, state *tls.ConnectionState) {
	session.Seen = state
	session.TLS = tls.VersionName(state.Version)
	for _, cert := range state.PeerCertificates {
		session.Certificates = append(session.Certificates, Certificate{names.Distinguished(cert.Subject), names.Distinguished(cert.Issuer), cert.DNSNames, cert.NotAfter.UTC()})
	}
	session.Records = judgeRecords(host, state.PeerCertificates, s.Now())
	if err := s.WebPKI(state.PeerCertificates, host.Name); err != nil {
		session.WebPKI = err.Error()
	}
	session.MTASTS = judgeMTASTS(session, host, r.MTASTS, state.Version)
	var failed *policy.Error
	if err := host.Verify(*state); errors.As(err, &failed) {
		session.Error = r.brief(host, failed)
		return
	}
	session.OK = true
}

// maxJudged bounds the records that are compared one by one. Each may take many signatures, and a
// usual host has two.
const maxJudged = 32

// judgeRecords reports for each published TLSA record whether it matches. One match is
// sufficient for a sender.
func judgeRecords(host *policy.Host, chain []*x509.Certificate, now time.Time) []Record {
	published := host.TLSA
	if host.DANE != nil && len(host.DANE.Records) > 0 {
		published = host.DANE.Records
	}
	skipped := dane.Skipped(published)
	wouldMatch := dane.WouldMatch(skipped, chain, host.ReferenceNames, now)
	var records []Record
	for i, r := range published {
		judged := Record{Record: r.String()}
		at := slices.IndexFunc(skipped, func(s dane.Skip) bool { return sameRecord(s.Record, r) })
		if at >= 0 {
			judged.How = "not used: " + skipped[at].Reason
			if wouldMatch[at] {
				judged.How += "; it would have matched"
			}
		} else if i < maxJudged {
			judged.Matches, judged.How = judgeRecord(r, host, chain, now)
		} else {
			judged.How = "not compared: too many records precede it"
		}
		records = append(records, judged)
	}
	return records
}

func judgeRecord(r dane.Record, host *policy.Host, chain []*x509.Certificate, now time.Time) (matches bool, how string) {
	match, err := dane.Verify(chain, []dane.Record{r}, host.ReferenceNames, now)
	var mismatch *dane.Error
	switch {
	case errors.As(err, &mismatch) && len(mismatch.Attempts) > 0:
		return false, mismatch.Attempts[0].Err.Error()
	case err != nil:
		return false, err.Error()
	case match.Depth == 0:
		return true, "matches the server's certificate"
	case match.Name == "":
		return true, "matches an issuer of the server's certificate"
	default:
		return true, "matches an issuer of the server's certificate, which is for " + match.Name
	}
}

func sameRecord(a, b dane.Record) bool {
	return a.Usage == b.Usage && a.Selector == b.Selector && a.MatchingType == b.MatchingType && bytes.Equal(a.Data, b.Data)
}

// WebPKI checks certificates as RFC 8461 section 4.2 does, for the name of a mail host.
func (s *Surveyor) WebPKI(chain []*x509.Certificate, name string) error {
	if len(chain) == 0 {
		return errors.New("the server sent no certificate")
	}
	options := x509.VerifyOptions{Roots: s.Roots, DNSName: name, Intermediates: x509.NewCertPool(), CurrentTime: s.Now()}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	_, err := chain[0].Verify(options)
	return certcode.Bounded(err, chain)
}

// judgeMTASTS says whether a session meets the MTA-STS policy. Senders without DANE depend
// on it also where DANE decides.
func judgeMTASTS(session *Session, host *policy.Host, sts *policy.MTASTS, version uint16) string {
	if sts == nil || sts.Policy == nil || sts.Policy.Mode == mtasts.None {
		return ""
	}
	not := "not met: "
	if host.By.Has(policy.ByDANE) && !host.By.Has(policy.ByMTASTS) {
		not = "not met for senders without DANE: "
	}
	switch {
	case !sts.Policy.MatchMX(session.Host):
		return not + "the policy does not list the host"
	case version < tls.VersionTLS12:
		return not + "the server speaks " + tls.VersionName(version)
	case session.WebPKI != "":
		return not + session.WebPKI
	default:
		return "met: the policy lists the host, and its certificate is valid"
	}
}
