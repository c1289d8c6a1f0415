package advise

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Publish is something to publish: DNS records, or a file on a web site.
type Publish struct {
	Where string   `json:"where"` // "DNS", or the URL of the file
	Lines []string `json:"lines"`
}

// inDNS is the place of DNS records.
const inDNS = "DNS"

// The max_age of policies, in seconds. A new policy expires soon, so that a mistake does not
// last long.
const (
	maxAgeTesting = 86400
	maxAgeEnforce = 604800
)

// policyRecords returns a policy that lists all mail hosts, and the record that announces
// it. Its max_age is at least that of the present policy if the mode stays.
func (a *Advice) policyRecords(mode mtasts.Mode) []Publish {
	domain := a.found.Plan.NextHop
	maxAge := maxAgeTesting
	if mode == mtasts.Enforce {
		maxAge = maxAgeEnforce
	}
	if p := a.found.MTASTS.Policy; p != nil && p.Mode == mode {
		maxAge = max(maxAge, int(p.MaxAge.Seconds()))
	}
	file := Publish{Where: "https://mta-sts." + domain + "/.well-known/mta-sts.txt", Lines: []string{"version: STSv1", "mode: " + string(mode)}}
	for _, host := range a.found.Plan.Hosts {
		if line := "mx: " + host.Name; !slices.Contains(file.Lines, line) {
			file.Lines = append(file.Lines, line)
		}
	}
	file.Lines = append(file.Lines, fmt.Sprintf("max_age: %d", maxAge))
	record := fmt.Sprintf("_mta-sts.%s. IN TXT \"v=STSv1; id=%s\"", domain, a.time.UTC().Format("20060102150405"))
	return []Publish{file, {inDNS, []string{record}}}
}

// reportRecord returns the record that asks for reports.
func (a *Advice) reportRecord() Publish {
	domain := a.found.Plan.NextHop
	return Publish{inDNS, []string{fmt.Sprintf("_smtp._tls.%s. IN TXT \"v=TLSRPTv1; rua=mailto:tls-reports@%s\"", domain, domain)}}
}

// tlsaRecords returns the records for the certificates that the domain's own hosts have
// shown and that no usable record matches.
func (a *Advice) tlsaRecords() []Publish {
	records := Publish{Where: inDNS}
	for _, s := range a.found.Sessions {
		host := a.found.Plan.Host(s.Host)
		if s.Seen == nil || !own(a.found.Plan, host) || matched(host, s.Seen.PeerCertificates, a) {
			continue
		}
		record, err := dane.NewRecord(s.Seen.PeerCertificates[0], dane.DANEEE, dane.SPKI, dane.SHA256)
		if err != nil {
			continue
		}
		line := fmt.Sprintf("%s IN TLSA %s", dane.RecordName(tlsaHost(host), host.Port), record)
		if !slices.Contains(records.Lines, line) {
			records.Lines = append(records.Lines, line)
		}
	}
	if len(records.Lines) == 0 {
		return nil
	}
	return []Publish{records}
}

// matched reports whether a published record authenticates the certificates.
func matched(host *policy.Host, chain []*x509.Certificate, a *Advice) bool {
	if host.DANE == nil {
		return false
	}
	names := append(slices.Clone(host.ReferenceNames), host.Name)
	_, err := dane.Verify(chain, host.DANE.Usable, names, a.time)
	return err == nil
}

// tlsaHost returns the name whose TLSA records count: that at the end of the aliases if all
// of them are signed, and else the host's own (RFC 7672 section 2.2.2).
func tlsaHost(host *policy.Host) string {
	if d := host.DANE; d != nil && d.AddrStatus == dnssec.Secure && len(d.Aliases) > 0 {
		return strings.TrimSuffix(d.Aliases[len(d.Aliases)-1].Target, ".")
	}
	return host.Name
}
