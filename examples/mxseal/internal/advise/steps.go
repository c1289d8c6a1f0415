package advise

import (
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Step is something to do. The order of the steps is the one that works: nothing is
// demanded of senders before it is known that it works.
type Step struct {
	Kind    Kind      `json:"kind"`
	Title   string    `json:"title"`
	Text    []string  `json:"text,omitempty"` // paragraphs
	Publish []Publish `json:"publish,omitempty"`
}

// Kind is the kind of a step, for programs.
type Kind string

const (
	RepairDNS    Kind = "repair-dns"    // the domain cannot be looked up
	RepairHosts  Kind = "repair-hosts"  // mail hosts fail
	RepairPolicy Kind = "repair-policy" // an MTA-STS policy is announced and cannot be used
	Testing      Kind = "testing"       // publish an MTA-STS policy in testing mode
	Reports      Kind = "reports"       // ask for reports
	Prepare      Kind = "prepare"       // repair what an enforced policy would refuse
	Enforce      Kind = "enforce"       // enforce the policy, after two weeks of reports
	Sign         Kind = "sign"          // sign the zone
	PublishTLSA  Kind = "tlsa"          // publish TLSA records
	AskProvider  Kind = "ask-provider"  // the provider should publish TLSA records
)

// steps returns the steps that are left.
func (a *Advice) steps() []Step {
	var list []Step
	list = append(list, a.repairHosts()...)
	if len(list) == 0 && a.found.MTASTS.Mode() == mtasts.Enforce && len(a.Breaks) > 0 {
		list = append(list, a.prepare("Repair what the enforced policy refuses: mail of senders without DANE does not arrive"))
	}
	list = append(list, a.towardsEnforce()...)
	return append(list, a.towardsDANE()...)
}

func repairDNS(reason string) Step {
	return Step{Kind: RepairDNS, Title: "Repair the DNS of the domain: senders cannot look it up, and its mail waits", Text: []string{
		reason,
		"If other domains can be looked up through the same DNS server, the fault is at the name servers of this domain. " +
			"With a broken signature, renew the signatures, and compare the DS record at the registrar with the keys of the zone.",
	}}
}

// repairHosts is the step for mail hosts that fail now, apart from the policy.
func (a *Advice) repairHosts() []Step {
	var problems []string
	refused := false
	for _, p := range a.found.Problems {
		if strings.HasPrefix(p, "the MTA-STS policy ") || strings.HasPrefix(p, "the TLSRPT record ") {
			continue
		}
		problems = append(problems, p)
	}
	for _, host := range a.found.Plan.Hosts {
		refused = refused || host.Level == policy.Refused && host.By.Has(policy.ByMTASTS)
	}
	if len(problems) == 0 {
		return nil
	}
	step := Step{Kind: RepairHosts, Title: "Repair the mail hosts that fail: their mail waits, or goes to other hosts", Text: problems}
	if refused {
		step.Text = append(step.Text, "If these MX records are yours, the policy has to list all of the mail hosts:")
		step.Publish = a.policyRecords(mtasts.Enforce)
	}
	if a.found.Plan.MXStatus == dnssec.Secure && slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "no TLSA record") }) {
		step.Text = append(step.Text, "If the certificate that this command saw is yours, publish its record beside the present ones. If it is not, an attacker is on the path.")
		step.Publish = append(step.Publish, a.tlsaRecords()...)
	}
	return []Step{step}
}

// towardsEnforce are the steps to an enforced MTA-STS policy.
func (a *Advice) towardsEnforce() []Step {
	var list []Step
	found, noReports := a.found.MTASTS, len(a.found.Reports.To) == 0
	mode := found.Mode()
	reports := Step{Kind: Reports, Title: "Ask senders for reports", Publish: []Publish{a.reportRecord()}, Text: []string{
		"Once a day, senders say how many sessions failed, and why. The address must exist; \"mxseal report\" explains what arrives.",
	}}
	switch {
	case found.Policy == nil && found.Err != nil:
		list = append(list, Step{Kind: RepairPolicy, Title: "Repair the MTA-STS policy, which senders cannot use", Text: []string{
			strings.TrimPrefix(found.Err.Error(), "mtasts: "+a.found.Plan.NextHop+": "),
			"Senders that know an earlier policy go on with it until that expires. A policy that works is below. If the earlier one was enforced, " +
				"keep its mode and its max_age: with the mode testing, senders would stop refusing impostors.",
		}, Publish: a.policyRecords(mtasts.Testing)})
	case mode == mtasts.None:
		step := Step{Kind: Testing, Title: "Publish an MTA-STS policy in testing mode, and ask for reports", Text: []string{
			"In testing mode, senders refuse nothing and report what they would refuse. The web site needs a certificate that is valid for mta-sts." +
				a.found.Plan.NextHop + ". The file has to list all of your mail hosts, and no others. Publish it first, and then the record.",
		}, Publish: a.policyRecords(mtasts.Testing)}
		if noReports {
			step.Publish = append(step.Publish, a.reportRecord())
			noReports = false
		}
		list = append(list, step)
	}
	if noReports {
		list = append(list, reports)
	}
	if mode == mtasts.Enforce {
		return list
	}
	if len(a.Breaks) > 0 {
		list = append(list, a.prepare("Repair what an enforced policy would refuse"))
	}
	return append(list, Step{Kind: Enforce, Title: "Enforce the policy, after two weeks of reports without failures", Text: []string{
		"Safe: " + a.Safe + ".",
		"Change the file first, and then the id in the record. Raise max_age step by step, up to a year (31557600): it is how long the policy protects " +
			"from an attacker who hides it, and how long a mistake lasts.",
	}, Publish: a.policyRecords(mtasts.Enforce)})
}

// prepare is the step to mail hosts that an enforced policy does not refuse.
func (a *Advice) prepare(title string) Step {
	step := Step{Kind: Prepare, Title: title, Text: slices.Clone(a.Breaks)}
	p := a.found.MTASTS.Policy
	if p != nil && slices.ContainsFunc(a.found.Plan.Hosts, func(h *policy.Host) bool { return p.Mode != mtasts.None && !p.MatchMX(h.Name) }) {
		step.Text = append(step.Text, "If these MX records are yours, the policy has to list all of the mail hosts:")
		step.Publish = a.policyRecords(p.Mode)
	}
	return step
}

// towardsDANE are the steps to DANE.
func (a *Advice) towardsDANE() []Step {
	var list []Step
	plan := a.found.Plan
	if a.DNSSEC == ZoneUnsigned {
		list = append(list, Step{Kind: Sign, Title: "Sign the zone of the domain (DNSSEC)", Text: []string{
			"DANE begins with signed MX records. Have the name servers sign the zone, or let the DNS provider do it, and give the DS record to the registrar. " +
				"A zone that is signed must stay signed without faults: watch it with \"mxseal check -nagios\".",
		}})
	}
	var ownHosts, others []string
	for _, host := range plan.Hosts {
		switch {
		case hasDANE(host) || host.Level == policy.Refused:
		case own(plan, host):
			ownHosts = append(ownHosts, host.Name)
		default:
			others = append(others, host.Name)
		}
	}
	if len(ownHosts) > 0 && a.DNSSEC != ZoneUnavailable {
		list = append(list, Step{Kind: PublishTLSA, Title: "Publish TLSA records for " + strings.Join(ownHosts, " "), Text: a.aboutTLSA(), Publish: a.tlsaRecords()})
	}
	if len(others) > 0 {
		list = append(list, Step{Kind: AskProvider, Title: "Ask the provider for DANE", Text: []string{
			"Only the provider can publish TLSA records for " + strings.Join(others, " ") + ". Until then, an enforced MTA-STS policy is what protects the mail.",
		}})
	}
	return list
}

func (a *Advice) aboutTLSA() []string {
	text := []string{
		"The records are for the keys that this command saw. Compare them with what \"mxseal tlsa\" prints for the certificate files on the hosts.",
		rollover,
	}
	if a.DNSSEC != ZoneSigned {
		text = append([]string{"Only after the zone is signed: before, senders ignore the records."}, text...)
	}
	return text
}

// rollover is the order of a change of keys (RFC 7671 section 8.4).
const rollover = "When a key changes: make the new key, publish its record beside the old one, wait for twice the TTL of the records, " +
	"install the certificate, check with \"mxseal check -connect\", and remove the old record. A renewed certificate with the same key needs no new record."
