package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/internal/names"
)

// transportLines give a transport map to the queue manager alone, in master.cf, so that incoming mail is not held up
// when mxseal does not answer. maps are those of main.cf, which stay.
func transportLines(maps string) []string {
	return []string{
		postconfCommand + `-M rewrite-out/unix="rewrite-out unix - - n - - trivial-rewrite"`,
		"rewrite-out/unix/transport_maps = " + withTable(maps, "", "socketmap:unix:mxseal/transport.sock:transport"),
		"qmgr/unix/rewrite_service_name = rewrite-out",
	}
}

// examineRelay checks what the relay needs.
func (p *postfix) examineRelay(c *config.Config) (all []finding) {
	add := func(s severity, text string, lines ...string) { all = append(all, finding{s, text, lines}) }
	if c.Relay.Transport != nil && !p.asksForTransport() {
		add(problem, "Postfix does not ask mxseal how to send mail, so that it does not use the relay", transportLines(p.transports[0])...)
	}
	if c.Relay.Transport != nil {
		all = append(all, p.examineLocal(c)...)
	}
	if c.Relay.LMTP != nil {
		all = append(all, examineTimeout("lmtp_data_done_timeout", p.lmtp, c)...)
		if p.lmtp["lmtp_send_xforward_command"] != "yes" {
			add(advice, "the log of the relay lacks the queue IDs of Postfix", "lmtp_send_xforward_command = yes")
		}
	}
	if c.Relay.SMTP != nil {
		all = append(all, examineTimeout("smtp_data_done_timeout", p.settings, c)...)
	}
	if most, limit := c.Relay.MaxSize, p.settings["message_size_limit"]; c.Relay.LMTP != nil || c.Relay.SMTP != nil {
		if size, err := strconv.ParseInt(limit, 10, 64); err != nil || size == 0 || size > most {
			add(advice, fmt.Sprintf("Postfix takes messages of %s octets (0 means any number), and returns those to their senders that have more than relay.max-size, %d", limit, most),
				fmt.Sprintf("message_size_limit = %d", most))
		}
	}
	return all
}

// examineLocal looks for domains of this machine whose mail the transport map would give to the relay. Those in
// tables are not looked at.
func (p *postfix) examineLocal(c *config.Config) (all []finding) {
	local := map[string]bool{}
	for _, name := range append([]string{c.Name}, c.Relay.LocalDomains...) {
		if canonical, err := names.Canonical(name); err == nil {
			local[canonical] = true
		}
	}
	for _, setting := range []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"} {
		var missing []string
		for _, each := range strings.FieldsFunc(p.settings[setting], isSeparator) {
			canonical, err := names.Canonical(each)
			if err != nil || !strings.Contains(canonical, ".") || strings.ContainsAny(each, ":/!") || local[canonical] {
				continue // a name without a dot stays with Postfix
			}
			local[canonical] = true // said once
			missing = append(missing, canonical)
		}
		if missing != nil {
			all = append(all, finding{problem, "the relay gets the mail to " + strings.Join(missing, ", ") + ", which " + setting + " names: add that to relay.local-domains in the configuration of mxseal", nil})
		}
	}
	return all
}

func isSeparator(r rune) bool { return strings.ContainsRune(", \t", r) }

// asksForTransport reports whether some transport map is that of mxseal.
func (p *postfix) asksForTransport() bool {
	for _, maps := range p.transports {
		for _, each := range strings.FieldsFunc(maps, func(r rune) bool { return strings.ContainsRune(", \t{}", r) }) {
			if strings.HasPrefix(each, "socketmap:") && strings.HasSuffix(each, ":transport") {
				return true
			}
		}
	}
	return false
}

// examineTimeout checks how long Postfix waits for the reply to a message. If that is less than the relay expects,
// Postfix sends mail again that a mail host has accepted.
func examineTimeout(name string, settings map[string]string, c *config.Config) []finding {
	timeout, err := parseTime(settings[name])
	if err == nil && timeout >= c.Relay.ClientTimeout {
		return nil
	}
	return []finding{{
		problem,
		fmt.Sprintf("%s is %s, and relay.client-timeout %v: Postfix does not wait for mail hosts that take ten minutes for their reply, and sends them the mail again", name, settings[name], c.Relay.ClientTimeout),
		[]string{fmt.Sprintf("%s = %ds", name, int(c.Relay.ClientTimeout.Seconds()))},
	}}
}

// parseTime reads a time of postconf(5), such as 600s; without a unit it is in seconds.
func parseTime(text string) (time.Duration, error) {
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	unit := time.Second
	if text != "" {
		if found, ok := units[text[len(text)-1:]]; ok {
			unit, text = found, text[:len(text)-1]
		}
	}
	n, err := strconv.ParseUint(text, 10, 20)
	return time.Duration(n) * unit, err
}
