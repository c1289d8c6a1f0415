package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt"
)

// showReport prints a report that somebody sent, and returns the exit status.
func showReport(name string, stdout, stderr io.Writer) int {
	report, err := readReport(name)
	if err == nil {
		err = report.WriteTable(stdout)
	}
	if err == nil {
		err = writeAdvice(stdout, report)
	}
	if err != nil {
		fmt.Fprintf(stderr, "check: %s\n", clean(err.Error()))
		return exitUsage
	}
	return 0
}

func readReport(name string) (*tlsrpt.Report, error) {
	if name == "-" {
		return tlsrpt.ParseReport(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return tlsrpt.ParseReport(file)
}

// advice is what the owner of a domain can do about a result.
var advice = map[tlsrpt.ResultType]string{
	tlsrpt.STARTTLSNotSupported:    "the host offered no STARTTLS: turn TLS on there. If it is on, somebody between the sender and the host removes the offer",
	tlsrpt.CertificateHostMismatch: "the certificate has other names, or the host is in no mx line of the MTA-STS policy: add the name of the MX record to what lacks it",
	tlsrpt.CertificateExpired:      "renew the host's certificate, and have the server load it",
	tlsrpt.CertificateNotTrusted:   "the sender does not know the issuer: have the server send the intermediate certificates too, or get one from a public authority",
	tlsrpt.ValidationFailure:       "the TLS handshake failed otherwise: look at the reason, and at the server's log of that day",
	tlsrpt.TLSAInvalid:             "no TLSA record matches the host's certificate: publish the new record before a certificate is changed, and remove the old one after",
	tlsrpt.DNSSECInvalid:           "the sender could not validate the TLSA records: look for expired signatures, and for DS records that do not match the zone's keys",
	tlsrpt.DANERequired:            "the sender demands DANE, and found no TLSA records: publish them, in a signed zone",
	tlsrpt.STSPolicyFetchError:     "the MTA-STS policy cannot be fetched: look at the https server of the host mta-sts",
	tlsrpt.STSPolicyInvalid:        "the MTA-STS policy has errors: the lines of it are in the report, or compare it with RFC 8461 section 3.2",
	tlsrpt.STSWebPKIInvalid:        "the certificate of the host mta-sts does not stand the check: renew it, for that name",
}

// writeAdvice says of each result in the report what can be done, those first
// that stopped the most sessions.
func writeAdvice(w io.Writer, report *tlsrpt.Report) error {
	found := failures(report)
	if len(found) == 0 {
		_, err := fmt.Fprint(w, "\nAll sessions met the policy: there is nothing to do.\n")
		return err
	}
	var text strings.Builder
	text.WriteString("\nWhat to do\n")
	for _, f := range found {
		what, known := advice[f.result]
		if !known {
			what = "this result is none of RFC 8460: ask the sender, at the address above"
		}
		fmt.Fprintf(&text, "  %s%s: %s\n", clean(string(f.result)), f.listed(), what)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// failure is a result with all the hosts that had it.
type failure struct {
	result   tlsrpt.ResultType
	sessions int64
	hosts    map[string]bool
}

// failures returns those of a report, the most frequent first.
func failures(report *tlsrpt.Report) []*failure {
	byResult := make(map[tlsrpt.ResultType]*failure)
	var all []*failure
	for i := range report.Policies {
		for _, d := range report.Policies[i].Details {
			f := byResult[d.Type]
			if f == nil {
				f = &failure{result: d.Type, hosts: make(map[string]bool)}
				byResult[d.Type] = f
				all = append(all, f)
			}
			f.sessions += d.Sessions
			if d.MXHost != "" {
				f.hosts[clean(d.MXHost)] = true
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *failure) int { return cmp.Compare(b.sessions, a.sessions) })
	return all
}

// maxListed bounds the hosts that are named: a report may have thousands.
const maxListed = 5

func (f *failure) listed() string {
	hosts := slices.Sorted(maps.Keys(f.hosts))
	switch {
	case len(hosts) == 0:
		return ""
	case len(hosts) > maxListed:
		return fmt.Sprintf(" (%s and %d more)", strings.Join(hosts[:maxListed], ", "), len(hosts)-maxListed)
	default:
		return " (" + strings.Join(hosts, ", ") + ")"
	}
}
