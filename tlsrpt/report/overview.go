package report

import (
	"net/netip"

	"github.com/mxseal/mxseal/tlsrpt"
)

// Overview is what a [Digest] found, the worst first: what happened, at which hosts, since
// when, and what to do. It can be encoded in JSON. All text in it was chosen by the senders
// of the reports, except Meaning and Advice.
type Overview struct {
	// Reports is the number of reports that count, and Duplicates that of others with
	// the same content, which do not.
	Reports    int `json:"reports"`
	Duplicates int `json:"duplicates"`
	// Omitted is the number of reports that do not count because the Digest is full.
	Omitted int `json:"omitted,omitempty"`
	// First and Last are the days of the first and the last report.
	First Day `json:"first,omitempty"`
	Last  Day `json:"last,omitempty"`
	// Domains has one entry for each domain and kind of policy.
	Domains []DomainOverview `json:"domains"`
}

// DomainOverview is about the sessions to which one kind of policy of one domain applied.
// A session may count for several, such as one by DANE and one by MTA-STS.
type DomainOverview struct {
	// Domain is the policy domain: the recipient domain, or the mail host for TLSA.
	Domain string            `json:"domain"`
	Type   tlsrpt.PolicyType `json:"type"`
	// Mode is that of the MTA-STS policy in the latest report; "" if it is not in the
	// reports.
	Mode string `json:"mode,omitempty"`
	// Successes and Failures are the numbers of sessions that met the policy, and
	// that did not.
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
	// Unexplained is the number of failed sessions for which the reports give no
	// reason. There may be more, because a session may have several reasons.
	Unexplained int64 `json:"unexplained,omitempty"`
	// First and Last are the days of the first and the last report.
	First Day `json:"first"`
	Last  Day `json:"last"`
	// Days are the sums of each day with reports, in order.
	Days []DaySum `json:"days"`
	// Senders are the sums of each sender, the one with most failures first.
	Senders []SenderSum `json:"senders"`
	// Problems are the ways in which sessions failed, and the failures of the search for a
	// policy in sessions that met a remembered one, the worst first.
	Problems []Problem `json:"problems"`
}

// DaySum has the sessions of one day.
type DaySum struct {
	Day       Day   `json:"day"`
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
}

// SenderSum has the sessions of one sender.
type SenderSum struct {
	// Sender is the name of the organization, or else the contact address.
	Sender    string `json:"sender"`
	Successes int64  `json:"successes"`
	Failures  int64  `json:"failures"`
}

// Problem is one thing that failed in sessions.
type Problem struct {
	Type tlsrpt.ResultType `json:"type"`
	// ReasonCode may be empty, or a text of the sender.
	ReasonCode string `json:"reason_code,omitempty"`
	// Meaning says what happened, and Advice what to do, each in one clause.
	Meaning string `json:"meaning"`
	Advice  string `json:"advice"`
	// Effect is what the failure meant for the mail, the worst if it changed.
	Effect Effect `json:"effect,omitempty"`
	// Sessions is the number of sessions in which it failed. Those in which only a search
	// for a newer policy failed may have met the policy.
	Sessions int64 `json:"sessions"`
	// First and Last are the first and the last day on which it happened.
	First Day `json:"first"`
	Last  Day `json:"last"`
	// Hosts are the mail hosts, the one with most failures first. There are none
	// if the problem is not about a host, or the reports do not name them.
	Hosts []HostSum `json:"hosts,omitempty"`
	// Senders are the names of the senders that report the problem.
	Senders []string `json:"senders"`
}

// HostSum has the sessions that failed in one way at one mail host.
type HostSum struct {
	// Host is the name in the MX record, or else the name in the greeting.
	Host string `json:"host,omitempty"`
	// Addresses are the first addresses of the host in the reports.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Sessions  int64        `json:"sessions"`
}

// Effect is what a failure meant for the mail. The zero value means that the reports do not
// tell.
type Effect string

const (
	// MailWaited means that the sender did not send the mail to the host. It waited,
	// or another host got it. If the failure is that of the whole domain, it waited.
	MailWaited Effect = "waited"
	// MailUnprotected means that the policy did not protect the mail: it may have been
	// sent to anyone.
	MailUnprotected Effect = "unprotected"
	// MailRemembered means that the sender went on with an earlier policy, until that
	// expires.
	MailRemembered Effect = "remembered"
	// MailObserved means that the mail was sent because the policy is in testing mode.
	// It would have waited in the mode enforce.
	MailObserved Effect = "observed"
)

// rank orders effects, the worst last.
func (e Effect) rank() int {
	switch e {
	case MailWaited:
		return 4
	case MailUnprotected:
		return 3
	case MailRemembered:
		return 2
	case MailObserved:
		return 1
	default:
		return 0
	}
}

// effectOf returns the effect of a failure under a policy in this mode.
func effectOf(policy *tlsrpt.Policy, mode string, result tlsrpt.ResultType) Effect {
	switch {
	case result == tlsrpt.DANERequired, policy.Type == tlsrpt.TLSA:
		return MailWaited
	case policy.Type == tlsrpt.NoPolicyFound:
		return MailUnprotected
	case policy.Type != tlsrpt.STS:
		return ""
	case !result.AboutHost() && mode != "" && (result != tlsrpt.STSPolicyInvalid || len(policy.MXHosts) > 0):
		return MailRemembered // of a policy that is not valid, the report has the text, but no hosts
	case !result.AboutHost():
		return MailUnprotected
	case mode == "enforce":
		return MailWaited
	case mode == "testing":
		return MailObserved
	default:
		return ""
	}
}
