package postfix

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts"
)

const (
	// maxText keeps a policy, with the status before it, below the 100,000 octets that Postfix
	// reads.
	maxText = 99_000
	// maxReason is the part of a reason that Postfix logs.
	maxReason = 200
	// tls12 demands TLS 1.2 (RFC 8461 section 7.2), in the syntax of Postfix 3.6.
	tls12 = " protocols=>=TLSv1.2"
	// hostSNI sends the name of the MX host in SNI, where Postfix does not do so itself.
	hostSNI = " servername=hostname"
)

func (none) write(t *table) Reply {
	if reports := t.testingReports(); reports != "" {
		return Reply{Status: Found, Text: "dane" + reports}
	}
	return Reply{Status: NotFound}
}

func (daneOnly) write(*table) Reply { return Reply{Status: Found, Text: "dane-only" + tls12} }

func (daneByHost) write(t *table) Reply {
	return Reply{Status: Found, Text: "dane" + t.testingReports()}
}

func (encrypt) write(*table) Reply { return Reply{Status: Found, Text: "encrypt" + tls12} }

func (f fingerprint) write(*table) Reply {
	var texts []string
	for _, digest := range f.digests {
		texts = append(texts, colons(hex.EncodeToString(digest)))
	}
	slices.Sort(texts)
	return fit("fingerprint match=" + strings.Join(slices.Compact(texts), "|") + hostSNI + tls12)
}

// colons puts a colon after each octet.
func colons(digits string) string {
	var b strings.Builder
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(digits[i : i+2])
	}
	return b.String()
}

func (secureNextHop) write(t *table) Reply { return fit(t.secure([]string{t.plan.NextHop})) }

func (s secure) write(t *table) Reply {
	text := t.secure(s.names)
	if t.Client == PostfixTLSRPT && t.enforces() && slices.ContainsFunc(s.hosts, demand.isEnforced) {
		text += t.attributes(t.patterns(s), maxText-len(text))
	}
	return fit(text)
}

// secure keeps the order that sendmail needs: servername= is last, and nothing else is there.
func (t *table) secure(names []string) string {
	text := "secure match=" + strings.Join(names, ":") + hostSNI
	if t.Client == Sendmail {
		return text
	}
	return text + tls12
}

func (d demand) isEnforced() bool { return d.enforced }

// fit returns a policy as an answer if Postfix reads one of that size.
func fit(text string) Reply {
	if len(text) > maxText {
		return wait("the TLS policy is longer than Postfix reads")
	}
	return Reply{Status: Found, Text: text}
}

// testingReports returns the attributes for a policy in testing mode, if the operator wants them.
func (t *table) testingReports() string {
	if !t.TestingReports || t.Client != PostfixTLSRPT || t.Fingerprints || t.plan.MTASTS.Mode() != mtasts.Testing {
		return ""
	}
	return t.attributes(t.plan.MTASTS.Policy.MX, maxText)
}

// patterns returns the patterns of the policy; or, if they match a host that is not to be served, the
// names of those that are. Postfix connects to no host that matches none of them.
func (t *table) patterns(s secure) []string {
	for _, d := range t.demands {
		if !slices.ContainsFunc(s.hosts, d.isHost) && t.plan.MTASTS.Policy.MatchMX(d.host.Name) {
			return s.names
		}
	}
	return t.plan.MTASTS.Policy.MX
}

// attributes returns what Postfix needs for reports about a session under the policy, in at most max
// octets. The text of the policy is left out first; without the patterns there is nothing.
func (t *table) attributes(patterns []string, max int) string {
	if !isName(t.plan.NextHop) {
		return ""
	}
	var b strings.Builder
	b.WriteString(" policy_type=sts policy_domain=" + t.plan.NextHop)
	for _, pattern := range patterns {
		if !isName(strings.TrimPrefix(pattern, "*.")) {
			return ""
		}
		b.WriteString(" mx_host_pattern=" + pattern)
	}
	if b.Len() > max {
		return ""
	}
	var lines strings.Builder
	for _, line := range t.plan.MTASTS.Policy.Lines() {
		if isLine(line) {
			lines.WriteString(" { policy_string = " + line + " }")
		}
	}
	if b.Len()+lines.Len() <= max {
		b.WriteString(lines.String())
	}
	return b.String()
}

// isLine reports whether a line of a policy can be sent. A brace in it would end the attribute, and
// what follows would be attributes that the owner of the domain chose.
func isLine(line string) bool {
	return strings.TrimSpace(line) != "" && !strings.ContainsFunc(line, func(r rune) bool {
		return r < ' ' || r > '~' || r == '{' || r == '}'
	})
}

// reason returns the text for the log of the client.
func reason(why string) string {
	text := names.Printable(why, maxReason)
	return text[:min(len(text), maxReason)]
}
