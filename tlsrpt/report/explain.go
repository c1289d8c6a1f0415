package report

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Explain writes the report for a person to read: who sent it, and then the text of
// [Overview.Explain]. The output is printable ASCII, whatever the report contains.
func (r *Report) Explain(w io.Writer) error {
	if err := r.writeHead(w); err != nil {
		return err
	}
	var digest Digest
	digest.Add(r)
	return digest.Overview().writeDomains(w)
}

func (r *Report) writeHead(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s <%s>, report %s\n%s to %s\n", shown(r.Organization), shown(r.Contact), shown(r.ID),
		r.Dates.Start.Format(time.RFC3339), r.Dates.End.Format(time.RFC3339))
	return err
}

// Explain writes the overview for a person to read: how many sessions failed, and for each
// problem what happened, at which hosts, since when, what it meant for the mail, and what to
// do, the worst first. The output is printable ASCII in lines of at most 80 characters,
// except where a name is longer.
func (o Overview) Explain(w io.Writer) error {
	text := fmt.Sprintf("%s, %s\n", numbered(o.Reports, "report"), between(o.First, o.Last))
	if o.Reports == 0 {
		text = "no reports\n"
	}
	if o.Duplicates > 0 {
		text += fmt.Sprintf("%s not counted\n", numbered(o.Duplicates, "duplicate"))
	}
	if o.Omitted > 0 {
		text += fmt.Sprintf("%s omitted, because there are too many\n", numbered(o.Omitted, "report"))
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return o.writeDomains(w)
}

func (o Overview) writeDomains(w io.Writer) error {
	var text strings.Builder
	faultless := true
	for i := range o.Domains {
		o.Domains[i].write(&text)
		faultless = faultless && o.Domains[i].Failures == 0 && len(o.Domains[i].Problems) == 0
	}
	if faultless {
		text.WriteString("\nNo session failed: there is nothing to do.\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (o *DomainOverview) write(text *strings.Builder) {
	met := "met the policy"
	if o.Type == tlsrpt.NoPolicyFound {
		met = "had TLS"
	}
	fmt.Fprintf(text, "\n%s %s%s\n  %s %s, %d did not%s\n", shown(o.Domain), standard(o.Type), inMode(o.Mode),
		numbered(o.Successes, "session"), met, o.Failures, failedShare(Summary{o.Successes, o.Failures}))
	if o.Failures > 0 {
		o.writeSums(text)
	}
	for i := range o.Problems {
		o.Problems[i].write(text, i+1, o)
	}
	if o.Unexplained > 0 {
		fmt.Fprintf(text, "\n  The reports give no reason for %s.\n", numbered(o.Unexplained, "failed session"))
	}
}

// standard names a type of policy.
func standard(t tlsrpt.PolicyType) string {
	switch t {
	case tlsrpt.TLSA:
		return "by DANE"
	case tlsrpt.STS:
		return "by MTA-STS"
	case tlsrpt.NoPolicyFound:
		return "without a policy"
	default:
		return "by policy " + shown(string(t))
	}
}

func inMode(mode string) string {
	if mode == "" {
		return ""
	}
	return " in mode " + shown(mode)
}

// The greatest number of rows in the tables of days and senders.
const (
	maxDayRows    = 31
	maxSenderRows = 10
)

// writeSums writes the sums of the last days and of the senders, if there are several.
func (o *DomainOverview) writeSums(text *strings.Builder) {
	table := tabwriter.NewWriter(text, 0, 8, 2, ' ', tabwriter.AlignRight)
	if days := o.Days[max(0, len(o.Days)-maxDayRows):]; len(days) > 1 {
		fmt.Fprint(table, "\n\tday\tmet\tfailed\t\n")
		for _, d := range days {
			fmt.Fprintf(table, "\t%s\t%d\t%d\t\n", d.Day, d.Successes, d.Failures)
		}
	}
	table.Flush() // to a Builder, which returns no errors
	if len(o.Senders) < 2 {
		return
	}
	fmt.Fprint(table, "\n\tmet\tfailed\t  sender\n")
	for _, s := range o.Senders[:min(len(o.Senders), maxSenderRows)] {
		fmt.Fprintf(table, "\t%d\t%d\t  %s\n", s.Successes, s.Failures, shown(s.Sender))
	}
	table.Flush()
	if more := len(o.Senders) - maxSenderRows; more > 0 {
		fmt.Fprintf(text, "  and %s\n", numbered(more, "more sender"))
	}
}

func (p *Problem) write(text *strings.Builder, number int, domain *DomainOverview) {
	name := string(p.Type)
	if p.ReasonCode != "" {
		name += ", " + p.ReasonCode
	}
	fmt.Fprintf(text, "\n  %d. %s\n", number, shown(name))
	writeField(text, "What:", sentence(p.Meaning))
	if len(p.Hosts) == 0 {
		writeField(text, "How often:", numbered(p.Sessions, "session"))
	} else {
		writeField(text, "Where:", p.where())
	}
	writeField(text, "When:", p.when(domain))
	if len(domain.Senders) > 1 {
		writeField(text, "Who:", listed(p.Senders))
	}
	writeField(text, "Effect:", p.effect())
	writeField(text, "What to do:", sentence(p.Advice))
}

// where returns the hosts and the number of sessions.
func (p *Problem) where() string {
	var hosts []string
	for _, h := range p.Hosts {
		host := shown(h.Host)
		if len(h.Addresses) > 0 {
			var addresses []string
			for _, address := range h.Addresses {
				addresses = append(addresses, address.String())
			}
			host += " (" + strings.Join(addresses, ", ") + ")"
		}
		if len(p.Hosts) > 1 {
			host += fmt.Sprintf(": %d", h.Sessions)
		}
		hosts = append(hosts, host)
	}
	return numbered(p.Sessions, "session") + " at " + listed(hosts)
}

// when returns the days, or "" if the reports are about one day only.
func (p *Problem) when(domain *DomainOverview) string {
	switch {
	case domain.First == domain.Last:
		return ""
	case p.First == domain.Last:
		return fmt.Sprintf("new on %s", p.First)
	case p.Last == domain.Last:
		return fmt.Sprintf("since %s, last on %s", p.First, p.Last)
	default:
		return fmt.Sprintf("%s, and not since then", between(p.First, p.Last))
	}
}

// effect says what the failure meant for the mail.
func (p *Problem) effect() string {
	switch {
	case p.Effect == MailWaited && len(p.Hosts) == 0:
		return "The mail waited."
	case p.Effect == MailWaited:
		return "The mail waited, or another host got it."
	case p.Effect == MailUnprotected && !p.Type.AboutHost():
		return "The mail was sent without this policy, unless the sender remembered an earlier one."
	case p.Effect == MailRemembered:
		return "The sender goes on with the policy that it remembers, until that expires."
	case p.Effect == MailUnprotected:
		return "The mail may have been sent without TLS, or to an impostor."
	case p.Effect == MailObserved:
		return "The mail was sent. In the mode enforce it would have waited."
	default:
		return ""
	}
}

const (
	lineWidth = 80
	margin    = 5
	labelled  = 17 // the column of a text after its label
)

// writeField writes a label and the text after it, in lines.
func writeField(text *strings.Builder, label, value string) {
	if value == "" {
		return
	}
	fmt.Fprintf(text, "%*s%-*s", margin, "", labelled-margin, label)
	column := labelled
	for i, word := range strings.Fields(value) {
		if i > 0 && column+1+len(word) > lineWidth {
			fmt.Fprintf(text, "\n%*s", labelled, "")
			column = labelled
		} else if i > 0 {
			text.WriteByte(' ')
			column++
		}
		text.WriteString(word)
		column += len(word)
	}
	text.WriteByte('\n')
}

// sentence returns a clause as a sentence.
func sentence(clause string) string {
	clause = names.Printable(clause, 2*maxShown)
	return strings.ToUpper(clause[:1]) + clause[1:] + "."
}

// maxListed is the number of hosts or senders that are named. A report may have thousands.
const maxListed = 5

func listed(all []string) string {
	some := make([]string, 0, maxListed)
	for _, text := range all[:min(len(all), maxListed)] {
		some = append(some, shown(text))
	}
	if more := len(all) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(some, ", "), more)
	}
	return strings.Join(some, ", ")
}

func between(first, last Day) string {
	if first == last {
		return first.String()
	}
	return fmt.Sprintf("%s to %s", first, last)
}

// numbered returns a number and a noun, in the plural unless the number is 1.
func numbered[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// WriteTable writes each policy of the report, followed by a table of the ways in
// which sessions failed, with the most frequent first. The output is printable
// ASCII, whatever the report contains.
func (r *Report) WriteTable(w io.Writer) error {
	if err := r.writeHead(w); err != nil {
		return err
	}
	// The cells are separated by tabs, which shown removes from their text.
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
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
	return fmt.Sprintf(" (%.1f %%)", 100*float64(s.Failures)/(float64(s.Successes)+float64(s.Failures)))
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
