package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Explain writes the report for a person to read: the table of WriteTable, then
// for each result type the hosts that had it and the [Advice] about it, with the
// most frequent result first. The output is printable ASCII, whatever the report
// contains.
func (r *Report) Explain(w io.Writer) error {
	if err := r.WriteTable(w); err != nil {
		return err
	}
	problems := r.problems()
	if len(problems) == 0 {
		_, err := fmt.Fprint(w, "\nAll sessions met the policy: there is nothing to do.\n")
		return err
	}
	var text strings.Builder
	text.WriteString("\nWhat to do\n")
	for _, p := range problems {
		fmt.Fprintf(&text, "  %s%s: %s\n", shown(string(p.result)), p.listHosts(), Advice(p.result))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// Advice returns one line of text that tells the owner of a domain what to do
// about a result. For an unregistered result type it is to ask the sender.
func Advice(result tlsrpt.ResultType) string {
	switch result {
	case tlsrpt.STARTTLSNotSupported:
		return "the host offered no STARTTLS: turn TLS on there. If it is on, an attacker or a middlebox between the sender and the host removes the offer"
	case tlsrpt.CertificateHostMismatch:
		return "the certificate has other names, or the host is in no mx line of the MTA-STS policy: add the name in the MX record to the certificate or to the policy"
	case tlsrpt.CertificateExpired:
		return "renew the host's certificate, and make the server load it"
	case tlsrpt.CertificateNotTrusted:
		return "the sender does not trust the issuer: make the server send the intermediate certificates too, or get a certificate from a public authority"
	case tlsrpt.ValidationFailure:
		return "the TLS handshake failed for another reason: see the reason code, and the server's log of that day"
	case tlsrpt.TLSAInvalid:
		return "no TLSA record matches the host's certificate: publish the new record before you change a certificate, and remove the old one afterwards"
	case tlsrpt.DNSSECInvalid:
		return "the sender could not validate the TLSA records: check for expired signatures, and for DS records that do not match the zone's keys"
	case tlsrpt.DANERequired:
		return "the sender requires DANE and found no TLSA records: publish them, in a signed zone"
	case tlsrpt.STSPolicyFetchError:
		return "the sender could not fetch the MTA-STS policy: check the https server of the host mta-sts"
	case tlsrpt.STSPolicyInvalid:
		return "the MTA-STS policy has errors: see its lines in the report, and compare them with RFC 8461 section 3.2"
	case tlsrpt.STSWebPKIInvalid:
		return "the certificate of the host mta-sts is not valid: renew it, for that name"
	default:
		return "this result is none of RFC 8460: ask the sender, at the address above"
	}
}

// problem is a result type with all hosts that had it.
type problem struct {
	result   tlsrpt.ResultType
	sessions int64
	hosts    map[string]bool
}

// problems returns the problems of the report, the most frequent first.
func (r *Report) problems() []*problem {
	byResult := make(map[tlsrpt.ResultType]*problem)
	var all []*problem
	for i := range r.Policies {
		for _, d := range r.Policies[i].Details {
			p := byResult[d.Type]
			if p == nil {
				p = &problem{result: d.Type, hosts: make(map[string]bool)}
				byResult[d.Type] = p
				all = append(all, p)
			}
			p.sessions += d.Sessions
			if d.MXHost != "" {
				p.hosts[shown(d.MXHost)] = true
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *problem) int { return cmp.Compare(b.sessions, a.sessions) })
	return all
}

// maxListed is the number of hosts that are named. A report may have thousands.
const maxListed = 5

func (p *problem) listHosts() string {
	hosts := slices.Sorted(maps.Keys(p.hosts))
	switch {
	case len(hosts) == 0:
		return ""
	case len(hosts) > maxListed:
		return fmt.Sprintf(" (%s and %d more)", strings.Join(hosts[:maxListed], ", "), len(hosts)-maxListed)
	default:
		return " (" + strings.Join(hosts, ", ") + ")"
	}
}

// WriteTable writes each policy of the report, followed by a table of the ways in
// which sessions failed, with the most frequent first. The output is printable
// ASCII, whatever the report contains.
func (r *Report) WriteTable(w io.Writer) error {
	// The cells are separated by tabs, which shown removes from their text.
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "%s <%s>, report %s\n%s to %s\n", shown(r.Organization), shown(r.Contact), shown(r.ID),
		r.Dates.Start.Format(time.RFC3339), r.Dates.End.Format(time.RFC3339))
	for i := range r.Policies {
		p := &r.Policies[i]
		fmt.Fprintf(table, "\n%s %s: %d sessions met the policy, %d did not%s\n",
			shown(string(p.Policy.Type)), shown(p.Policy.Domain), p.Summary.Successes, p.Summary.Failures, failedShare(p.Summary))
		if len(p.Details) > 0 {
			fmt.Fprint(table, "  SESSIONS\tRESULT\tREASON\tMX HOST\tADDRESS\tFROM\n")
		}
		byFrequency := func(a, b Detail) int { return cmp.Compare(b.Sessions, a.Sessions) }
		for _, d := range slices.SortedStableFunc(slices.Values(p.Details), byFrequency) {
			fmt.Fprintf(table, "  %d\t%s\t%s\t%s\t%s\t%s\n", d.Sessions, shown(string(d.Type)),
				shown(d.ReasonCode), shown(cmp.Or(d.MXHost, d.HELO)), shownAddr(d.ReceivingIP), shownAddr(d.SendingIP))
		}
	}
	return table.Flush()
}

// failedShare returns the share of the sessions that failed, or "" if none did.
func failedShare(s Summary) string {
	if s.Failures == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f %%)", 100*float64(s.Failures)/float64(s.Successes+s.Failures))
}

// maxShown is the number of octets of a text that are shown.
const maxShown = 255

// shown returns s as printable text, or "-" for empty text.
func shown(s string) string { return cmp.Or(names.Mask(s, maxShown), "-") }

func shownAddr(addr netip.Addr) string {
	if !addr.IsValid() {
		return "-"
	}
	return addr.String()
}
