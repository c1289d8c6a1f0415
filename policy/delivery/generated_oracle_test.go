package delivery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// oracle judges a delivery by what the servers heard.
type oracle struct {
	scenario *scenario

	mu          sync.Mutex
	connections []*connection
	reported    map[string][]string // by recipient: delivered, temporary, permanent, unknown
	dialed      []string
	recorded    []tlsrpt.Session

	complaints []string
}

func (o *oracle) report(recipients []string, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reported == nil {
		o.reported = make(map[string][]string)
	}
	for _, to := range recipients {
		o.reported[to] = append(o.reported[to], what)
	}
}

func (o *oracle) reportDelivered(recipients []string) { o.report(recipients, "delivered") }

func (o *oracle) reportUndelivered(u Undelivered) {
	switch {
	case u.OutcomeUnknown && u.Err.Permanent:
		o.report(u.Recipients, "unknown and permanent")
	case u.OutcomeUnknown:
		o.report(u.Recipients, "unknown")
	case u.Err.Permanent:
		o.report(u.Recipients, "permanent")
	default:
		o.report(u.Recipients, "temporary")
	}
}

func (o *oracle) complain(format string, args ...any) {
	o.complaints = append(o.complaints, fmt.Sprintf(format, args...))
}

// judge returns what is wrong.
func (o *oracle) judge(to []string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.connections {
		o.checkLevel(c)
		o.checkHELO(c)
		if c.fault == "" && !slices.ContainsFunc(c.exchanges, func(x exchange) bool { return x.verb == "." || x.verb == "part of a message" }) && !o.interrupted() {
			o.complain("%s: the client leaves a server that does everything right", c)
		}
	}
	for _, recipient := range to {
		got := o.reported[recipient]
		if len(got) != 1 {
			o.complain("%s is reported %d times: %q", recipient, len(got), got)
			continue
		}
		o.checkRecipient(recipient, got[0])
	}
	o.checkReports()
	if len(o.complaints) > 0 {
		o.complain("what the servers heard:")
		for _, c := range o.connections {
			o.complain("  %s", c)
			for _, x := range c.exchanges {
				o.complain("    %s -> %d %s (seen %v)", cmp.Or(x.line, x.verb), x.code, x.text, x.seen)
			}
		}
	}
	return o.complaints
}

// interrupted reports whether the time for the domain may have ended the delivery.
func (o *oracle) interrupted() bool { return o.scenario.hurry > 0 }

func (c *connection) String() string {
	return fmt.Sprintf("%s, connection %d (%v, TLS %q, fault %q, lacks %q)", c.addr, c.n, c.level, c.tls, c.fault, c.lacks)
}

// checkLevel: mail is sent only at the level demanded.
func (o *oracle) checkLevel(c *connection) {
	for _, x := range c.exchanges {
		verb, _, _ := strings.Cut(x.verb, " ")
		switch verb {
		case "MAIL", "RCPT", "DATA", ".", "part":
		default:
			continue
		}
		switch {
		case c.level == policy.Refused:
			o.complain("%s: %s at a refused host", c, x.verb)
		case c.level == policy.Encrypted && x.tls == "":
			o.complain("%s: %s in cleartext", c, x.verb)
		case c.level == policy.Authenticated && x.tls != "good":
			o.complain("%s: %s in an unverified session", c, x.verb)
		case verb == "MAIL" && o.scenario.requireTLS && (!c.requireTLS || !strings.Contains(x.line, " REQUIRETLS")):
			o.complain("%s: %q without REQUIRETLS", c, x.line)
		}
	}
}

// checkHELO: HELO follows only a 5yz reply to EHLO, where TLS is not mandatory, and a
// 4yz reply to either ends the attempt.
func (o *oracle) checkHELO(c *connection) {
	last := exchange{}
	for _, x := range c.exchanges {
		if x.verb == "HELO" && (c.level > policy.Opportunistic || last.verb != "EHLO" || last.code/100 != 5) {
			o.complain("%s: HELO after %s was answered by %d", c, last.verb, last.code)
		}
		if (last.verb == "EHLO" || last.verb == "HELO") && last.code/100 == 4 && x.verb != "QUIT" {
			o.complain("%s: %s after a %d reply to %s", c, x.verb, last.code, last.verb)
		}
		last = x
	}
}

// checkRecipient judges what is reported of one recipient.
func (o *oracle) checkRecipient(recipient, reported string) {
	messages, accepted, partial := 0, 0, 0
	var final exchange
	for _, c := range o.connections {
		for _, x := range c.exchanges {
			if !slices.Contains(x.accepted, recipient) {
				continue
			}
			switch x.verb {
			case ".":
				messages++
				final = x
				if x.code/100 == 2 {
					accepted++
				}
			case "part of a message":
				partial++
			}
		}
	}
	if messages > 1 || messages+partial > 1 {
		o.complain("%s: the message was sent %d times, and in part %d times", recipient, messages, partial)
	}
	// Of two faults in one group of commands, each can hide the other;
	// TestPipelinedRepliesAreJudgedAlone has those that can be told apart.
	confused := slices.ContainsFunc(o.connections, func(c *connection) bool { return c.confused })
	negative := final.code/100 == 4 || final.code/100 == 5
	switch reported {
	case "delivered":
		if accepted == 0 {
			o.complain("%s: reported delivered, and no server has accepted the message", recipient)
		}
	case "unknown":
		if messages+partial == 0 && !confused {
			o.complain("%s: the outcome is unknown, and the message was never sent", recipient)
		}
		if final.seen && (negative || final.code/100 == 2) && final.text != "" {
			o.complain("%s: the outcome is unknown after a %d reply", recipient, final.code)
		}
		if final.code/100 == 2 && final.seen {
			o.complain("%s: the outcome is unknown, and the client has seen that the message was accepted", recipient)
		}
		if final.code != 0 && !final.seen {
			o.complain("%s: the outcome is unknown because the client did not wait for the reply %d", recipient, final.code)
		}
	case "temporary":
		if messages+partial > 0 && !negative {
			o.complain("%s: reported temporary, and a server may have accepted the message (%d)", recipient, final.code)
		}
		if messages+partial == 0 && !o.interrupted() {
			o.checkAllTried(recipient)
		}
	case "permanent":
		if accepted > 0 {
			o.complain("%s: reported permanent, and a server has accepted the message", recipient)
		}
		if !o.refused(recipient) && !o.noMailAnywhere() && !o.allLack() && !confused {
			o.complain("%s: reported permanent without a reason", recipient)
		}
	default:
		o.complain("%s: reported %s", recipient, reported)
	}
	if reported != "permanent" && reported != "delivered" && o.refusedAtRCPT(recipient, true) {
		o.complain("%s: the server has refused the recipient permanently, and %s is reported", recipient, reported)
	}
}

// checkAllTried: while a message may go to another host, it does.
func (o *oracle) checkAllTried(recipient string) {
	for _, host := range o.scenario.hosts {
		for _, addr := range host.addrs {
			if !slices.Contains(o.dialed, addr) {
				o.complain("%s: reported temporary, and %s was not tried", recipient, addr)
			}
		}
	}
}

// trusted reports whether a 5yz reply counts: not 530 in cleartext, and nothing in
// cleartext after TLS failed.
func (c *connection) trusted(x exchange) bool {
	return x.code/100 == 5 && (x.tls != "" || x.code != 530 && c.n == 0 && !c.refusedTLS)
}

// refused reports whether a server has refused a recipient, or a transaction that
// it was in, with a reply that is permanent.
func (o *oracle) refused(recipient string) bool {
	if o.refusedAtRCPT(recipient, false) {
		return true
	}
	for _, c := range o.connections {
		for _, x := range c.exchanges {
			if c.trusted(x) && (x.verb == "MAIL" || (x.verb == "DATA" || x.verb == ".") && slices.Contains(x.accepted, recipient)) {
				return true
			}
		}
	}
	return false
}

// refusedAtRCPT is refused for RCPT alone. 552 after an accepted recipient is about
// the transaction, unless the text says otherwise (RFC 5321 section 4.5.3.1.10). With
// mustTell, only replies count that the client can tell apart.
func (o *oracle) refusedAtRCPT(recipient string, mustTell bool) bool {
	for _, c := range o.connections {
		mail := false // the server accepted the last MAIL
		for _, x := range c.exchanges {
			if x.verb == "MAIL" {
				mail = x.code/100 == 2
			}
			if !strings.HasPrefix(x.line, "RCPT TO:<"+recipient+">") || !x.seen || !c.trusted(x) {
				continue
			}
			// Without a transaction, which commands sent together cannot know, the
			// reply is about that and not about the recipient.
			if !mail && mustTell {
				continue
			}
			if c.confused && mustTell {
				continue
			}
			own := strings.HasPrefix(x.text, "5.2.2 ") || strings.HasPrefix(x.text, "5.3.4 ")
			if x.code != 552 || len(x.accepted) == 0 || own {
				return true
			}
		}
	}
	return false
}

// noMailAnywhere reports whether all hosts are Opportunistic and greet with 521
// (RFC 7504).
func (o *oracle) noMailAnywhere() bool {
	greeted := make(map[string]bool)
	for _, c := range o.connections {
		if len(c.exchanges) == 0 || c.exchanges[0].code != 521 || c.level != policy.Opportunistic {
			return false
		}
		greeted[c.addr] = true
	}
	return o.everywhere(greeted)
}

// allLack reports whether every server lacks what RequireTLS demands.
func (o *oracle) allLack() bool {
	lacking := make(map[string]bool)
	for _, c := range o.connections {
		if !o.scenario.requireTLS || c.lacks == "" {
			return false
		}
		lacking[c.addr] = true
	}
	return o.everywhere(lacking)
}

func (o *oracle) everywhere(addrs map[string]bool) bool {
	for _, host := range o.scenario.hosts {
		for _, addr := range host.addrs {
			if !addrs[addr] {
				return false
			}
		}
	}
	return true
}

// checkReports: a report counts a failure for mail in cleartext. It counts a success only
// for a session that the level permits, on the first connection to an address.
func (o *oracle) checkReports() {
	for _, c := range o.connections {
		if !slices.ContainsFunc(c.exchanges, func(x exchange) bool { return x.verb == "." && x.tls == "" }) {
			continue
		}
		counted := slices.ContainsFunc(o.recorded, func(session tlsrpt.Session) bool {
			return session.ReceivingIP.String() == c.addr && len(session.Outcomes[0].Failures) > 0
		})
		if !counted {
			o.complain("%s: mail was sent in cleartext, and no report counts a failure of TLS", c)
		}
	}
	for _, session := range o.recorded {
		for _, outcome := range session.Outcomes {
			if len(outcome.Failures) > 0 {
				continue
			}
			good := slices.ContainsFunc(o.connections, func(c *connection) bool {
				addr, err := netip.ParseAddr(c.addr)
				if err != nil || addr != session.ReceivingIP || c.n > 0 {
					return false
				}
				// Where no policy was found, none judges the certificate.
				anyCertificate := c.level < policy.Authenticated || outcome.Policy.Type == tlsrpt.NoPolicyFound
				return c.tls == "good" || anyCertificate && o.scenario.at(c.addr, c.n, atHandshake).does == wrongCertificate
			})
			if !good {
				o.complain("a report counts a success at %v that was none", session.ReceivingIP)
			}
		}
	}
}
