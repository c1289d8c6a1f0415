package doctor

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/policy"
)

// severity is how much a finding matters.
type severity uint8

const (
	// advice is about what weakens the protection, or could be better.
	advice severity = iota
	// problem is about mail that is not protected, or not sent.
	problem
)

// postconfCommand begins a line of a finding that is a command.
const postconfCommand = "postconf "

// finding is something that is wrong, and what corrects it: lines of main.cf, and commands.
type finding struct {
	severity severity
	text     string
	lines    []string
}

// examine returns all findings.
func examine(p *postfix, c *config.Config) (all []finding) {
	add := func(s severity, text string, lines ...string) { all = append(all, finding{s, text, lines}) }
	if !p.version.atLeast(3, 6, 0) {
		add(problem, "Postfix "+p.version.text+" is too old: it refuses the policies; 3.6 is needed")
	}
	all = append(all, p.examineRelay(c)...)
	all = append(all, p.examineReports(c)...)
	if c.Relay.Transport != nil && c.Socketmap.Listen == nil {
		return all // the relay sends the mail
	}
	all = append(all, p.examineMap(c)...)
	all = append(all, p.examineLevel(c)...)
	all = append(all, p.examineDANE(c)...)
	if p.settings["smtp_tls_CAfile"] == "" && p.settings["smtp_tls_CApath"] == "" {
		add(problem, "Postfix trusts no authority, so that no mail is sent under an MTA-STS policy", "smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt")
	}
	if p.version.atLeast(3, 10, 5) && p.settings["smtp_tls_enforce_sts_mx_patterns"] == "no" {
		add(advice, "Postfix does not compare the names of mail hosts with the MTA-STS policy", "smtp_tls_enforce_sts_mx_patterns = yes")
	}
	if p.version.atLeast(3, 10, 0) && c.Collector.Listen != nil && p.settings["smtp_tlsrpt_enable"] != "yes" {
		add(advice, "Postfix does not report its sessions, and mxseal waits for them", "smtp_tlsrpt_enable = yes", "smtp_tlsrpt_socket_name = mxseal/tlsrpt.sock")
	}
	return all
}

// examineReports looks at what TLS reports need.
func (p *postfix) examineReports(c *config.Config) (all []finding) {
	if c.Reports.Contact == "" {
		return nil
	}
	if c.Reports.DKIMKey == "" {
		all = append(all, finding{advice, "mxseal sends TLS reports by https only, and most domains want them by mail: set tlsrpt-reports.dkim-key-file, as in mxseal-serve(8)", nil})
	}
	relay := c.Relay.LMTP != nil || c.Relay.SMTP != nil
	switch {
	case relay:
	case !p.version.atLeast(3, 10, 0):
		all = append(all, finding{advice, "Postfix " + p.version.text + " does not report its sessions, so that mxseal sends no TLS reports: use the relay, or Postfix 3.10", nil})
	case c.Collector.Listen == nil:
		all = append(all, finding{advice, "mxseal does not listen for the sessions of Postfix, so that it sends no TLS reports: set tlsrpt-collector.listen", nil})
	}
	return all
}

// mapName returns the name of the map for this version of Postfix.
func (p *postfix) mapName() string {
	if p.version.atLeast(3, 10, 0) {
		return "QUERYwithTLSRPT"
	}
	return "QUERY"
}

// examineMap checks smtp_tls_policy_maps.
func (p *postfix) examineMap(c *config.Config) (all []finding) {
	tables, table := p.settings["smtp_tls_policy_maps"], ""
	listener, unreachable := p.listener(c)
	for _, each := range strings.FieldsFunc(tables, isSeparator) {
		_, at, found := strings.Cut(each, "socketmap:")
		if found && (strings.HasPrefix(at, listener+":") || mayBeMap(at[strings.LastIndexByte(at, ':')+1:], c)) {
			table = each
		}
	}
	right := "smtp_tls_policy_maps = " + withTable(tables, table, "socketmap:"+listener+":"+p.mapName())
	rest, direct := strings.CutPrefix(table, "socketmap:")
	colon := strings.LastIndexByte(rest, ':')
	switch {
	case table == "" && tables != "":
		return append(unreachable, finding{problem, "Postfix does not ask mxseal. A table before that of mxseal decides wherever it has an answer: remove those that mxseal replaces", []string{right}})
	case table == "":
		return append(unreachable, finding{problem, "Postfix does not ask mxseal", []string{right}})
	case !direct:
		return []finding{{problem, "proxymap serves many smtp processes one after the other, and one slow answer holds up all mail", []string{right}}}
	case colon < 0:
		return []finding{{problem, table + " has no map name", []string{right}}}
	}
	address, name := rest[:colon], rest[colon+1:]
	if !mayBeMap(name, c) {
		return []finding{{problem, name + " is not a map of mxseal for Postfix, so that mail waits", []string{right}}}
	}
	if strings.EqualFold(name, "QUERYwithTLSRPT") && !p.version.atLeast(3, 10, 0) {
		all = append(all, finding{problem, "Postfix " + p.version.text + " refuses the answers of QUERYwithTLSRPT, so that mail waits", []string{right}})
	}
	if strings.EqualFold(name, "QUERY") && p.version.atLeast(3, 10, 0) {
		all = append(all, finding{advice, "with the map QUERY, Postfix does not report MTA-STS and does not compare the names of mail hosts with the policy", []string{right}})
	}
	network, where := "tcp", address
	if path, found := strings.CutPrefix(address, "unix:"); found {
		network, where = "unix", path
		switch {
		case filepath.IsAbs(path) && p.chrooted:
			return append(append(all, unreachable...), finding{problem, "smtp(8) is chrooted, and does not find " + path, []string{right}})
		case !filepath.IsAbs(path):
			where = filepath.Join(p.settings["queue_directory"], path)
		}
	}
	if err := p.answers(network, strings.TrimPrefix(where, "inet:")); err != nil {
		all = append(all, finding{problem, fmt.Sprintf("mxseal does not answer at %s: %v", address, err), nil})
	}
	return all
}

// mayBeMap reports whether mxseal has a map for Postfix with this name. Other programs have socketmaps too.
func mayBeMap(name string, c *config.Config) bool {
	return c.Socketmap.AnyMap || strings.EqualFold(name, "QUERY") || strings.EqualFold(name, "QUERYwithTLSRPT")
}

// listener returns the first address in socketmap.listen that smtp(8) can reach, as in socketmap_table(5). If there is
// none, it returns the usual one, and what is wrong.
func (p *postfix) listener(c *config.Config) (address string, unreachable []finding) {
	const usual = "mxseal/policy.sock" // also that of the systemd unit
	queue := p.settings["queue_directory"]
	for _, at := range c.Socketmap.Listen {
		path, inQueue := strings.CutPrefix(at.Where, queue+"/")
		switch {
		case at.Kind == "inet", at.Kind == "unix" && (inQueue || !p.chrooted):
			return at.Kind + ":" + path, nil
		case at.Kind == "systemd":
			return "unix:" + usual, nil
		}
		unreachable = []finding{{problem, fmt.Sprintf("mxseal listens at %s, which smtp(8) does not find in its chroot: set socketmap.listen to [\"unix:%s\"] in the configuration of mxseal", at.Where, filepath.Join(queue, usual)), nil}}
	}
	return "unix:" + usual, unreachable
}

// withTable returns a setting with one table in the place of another, or after all others if that is "". The tables of
// the operator stay: they may demand more than mxseal does.
func withTable(tables, replaced, table string) string {
	before, after := tables, ""
	if replaced != "" {
		at := strings.LastIndex(tables, replaced)
		before, after = tables[:at], tables[at+len(replaced):]
	} else if tables != "" {
		before += ", "
	}
	literal := func(text string) string { return strings.ReplaceAll(text, "$", "$$") } // "postconf -x" has replaced names
	return literal(before) + table + literal(after)
}

// examineLevel checks the level of mail that has no policy.
func (p *postfix) examineLevel(c *config.Config) (all []finding) {
	switch level := p.settings["smtp_tls_security_level"]; level {
	case "", "none":
		return []finding{{advice, "mail that has no policy is sent in cleartext", []string{"smtp_tls_security_level = may"}}}
	case "may", "dane":
	default:
		if policy.Level(c.Policy.Floor) < policy.Encrypted {
			return []finding{{advice, "smtp_tls_security_level is " + level + ", but an answer of mxseal replaces it, also by a weaker one: set policy.floor to encrypted in the configuration of mxseal", nil}}
		}
	}
	return nil
}

// examineDANE checks what the policies dane and dane-only need.
func (p *postfix) examineDANE(c *config.Config) (all []finding) {
	if c.Socketmap.Fingerprints {
		if digest := p.settings["smtp_tls_fingerprint_digest"]; digest != "sha256" {
			all = append(all, finding{problem, "the fingerprints of mxseal are SHA2-256, and Postfix expects " + digest, []string{"smtp_tls_fingerprint_digest = sha256"}})
		}
		return all
	}
	if p.settings["smtp_dns_support_level"] != "dnssec" {
		all = append(all, finding{problem, "Postfix does not use DNSSEC, so that no mail is sent to domains with DANE", []string{"smtp_dns_support_level = dnssec"}})
	}
	if p.settings["smtp_tls_dane_insecure_mx_policy"] != "dane" {
		all = append(all, finding{advice, "Postfix does not use TLSA records of hosts that insecure MX records name", []string{"smtp_tls_dane_insecure_mx_policy = dane"}})
	}
	if !slices.Equal(p.nameservers, p.current) {
		all = append(all, finding{advice, "smtp(8) has an old copy of /etc/resolv.conf in its chroot: restart Postfix, for example by \"systemctl restart postfix\"", nil})
	}
	const remedy = ": run a validating resolver on this machine, such as unbound, and name it in /etc/resolv.conf (nameserver 127.0.0.1), or set socketmap.fingerprints in the configuration of mxseal"
	for _, server := range p.nameservers {
		addr, err := netip.ParseAddr(server)
		if failure := p.validates(server); failure != nil {
			all = append(all, finding{problem, fmt.Sprintf("the DNS server %s does not validate DNSSEC for Postfix, so that no mail is sent to domains with DANE: %v", server, failure) + remedy, nil})
		} else if err != nil || !addr.IsLoopback() {
			all = append(all, finding{advice, "Postfix believes what " + server + " says about DNSSEC, over the network" + remedy, nil})
		}
	}
	return all
}
