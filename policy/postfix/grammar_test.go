package postfix_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

// A line is a policy as Postfix parses it: man 5 postconf, smtp_tls_policy_maps.
type line struct {
	level      string
	attributes map[string][]string
}

// separators are those between the tokens of a policy.
const separators = ", \t\r\n"

// tokens splits a policy. Braces protect what is in them.
func tokens(text string) (all []string, err error) {
	for {
		text = strings.TrimLeft(text, separators)
		if text == "" {
			return all, nil
		}
		if text[0] != '{' {
			end := strings.IndexAny(text, separators)
			if end < 0 {
				end = len(text)
			}
			if strings.ContainsAny(text[:end], "{}") {
				return nil, fmt.Errorf("brace in %q", text[:end])
			}
			all, text = append(all, text[:end]), text[end:]
			continue
		}
		depth, end := 0, -1
		for i, c := range text {
			switch c {
			case '{':
				depth++
			case '}':
				depth--
			}
			if depth == 0 {
				end = i
				break
			}
		}
		if end < 0 || end+1 < len(text) && !strings.ContainsRune(separators, rune(text[end+1])) {
			return nil, fmt.Errorf("braces in %q", text)
		}
		all, text = append(all, strings.TrimSpace(text[1:end])), text[end+1:]
	}
}

// levels have the rank of their demands.
var levels = map[string]int{"none": 0, "may": 1, "encrypt": 2, "fingerprint": 3, "dane": 4, "dane-only": 4, "verify": 4, "secure": 4}

// parse returns the error for which Postfix refuses the whole policy.
func parse(text string) (l line, err error) {
	all, err := tokens(text)
	if err != nil || len(all) == 0 {
		return l, fmt.Errorf("no policy: %w", err)
	}
	l = line{level: all[0], attributes: map[string][]string{}}
	if _, known := levels[l.level]; !known {
		return l, fmt.Errorf("level %q", l.level)
	}
	for _, token := range all[1:] {
		name, value, found := strings.Cut(token, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !found || value == "" {
			return l, fmt.Errorf("attribute %q", token)
		}
		if once := name != "match" && name != "policy_string" && name != "mx_host_pattern"; once && l.attributes[name] != nil {
			return l, fmt.Errorf("two of %q", name)
		}
		l.attributes[name] = append(l.attributes[name], value)
	}
	for name, values := range l.attributes {
		if err := l.check(name, values); err != nil {
			return l, fmt.Errorf("%s=%q: %w", name, values, err)
		}
	}
	return l, nil
}

// check reports whether an attribute is one of those that mxseal sends, and has the form that it must have.
func (l line) check(name string, values []string) error {
	ok := true
	switch name {
	case "match":
		ok = l.level == "secure" || l.level == "fingerprint"
		for _, value := range l.match() {
			digest, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
			ok = ok && (l.level == "secure" && isHost(value) || l.level == "fingerprint" && err == nil && len(digest) == 32)
		}
	case "servername":
		ok = values[0] == "hostname"
	case "protocols":
		ok = values[0] == ">=TLSv1.2" && l.level != "dane"
	case "policy_type":
		ok = values[0] == "sts"
	case "policy_domain":
		ok = isHost(values[0]) && l.attributes["policy_type"] != nil
	case "policy_string":
		ok = l.attributes["policy_type"] != nil
	case "mx_host_pattern":
		ok = l.attributes["policy_type"] != nil
		for _, value := range values {
			ok = ok && isHost(strings.TrimPrefix(value, "*."))
		}
	default:
		return fmt.Errorf("unknown attribute")
	}
	if !ok {
		return fmt.Errorf("not valid at %s", l.level)
	}
	return nil
}

func (l line) match() []string {
	return strings.Split(strings.Join(l.attributes["match"], ":"), map[string]string{"secure": ":", "fingerprint": "|"}[l.level])
}

// isHost reports whether name is a host name and none of the keywords of match=.
func isHost(name string) bool {
	return names.IsDomain(name) && name != "hostname" && name != "nexthop" && name != "dot-nexthop" && !names.EndsInNumber(name)
}

func TestGrammarIsThatOfPostfix(t *testing.T) {
	for _, bad := range []string{
		"", "half-dane", "secure match=", "secure match=hostname", "dane match=a.b", "secure match=a.b unknown=1",
		"secure match=a.b servername=hostname servername=hostname", "secure { policy_string = a } b }", "secure match=a.b {policy_type=sts",
		"secure match=a.b policy_type=sts policy_domain=a.b mx_host_pattern=a{b", "fingerprint match=aa:bb",
	} {
		if l, err := parse(bad); err == nil {
			t.Errorf("%q is %+v", bad, l)
		}
	}
	l, err := parse("secure match=a.b:c.d, servername=hostname\t{ policy_type = sts } policy_domain=a.b { policy_string = mx: {a} b }")
	if err != nil || !slices.Equal(l.match(), []string{"a.b", "c.d"}) || l.attributes["policy_string"][0] != "mx: {a} b" {
		t.Errorf("%+v, %v", l, err)
	}
}

// Whatever text an owner of a domain publishes as policy, the answer has only the attributes that it
// should have, with only the hosts of the plan.
func FuzzPolicyText(f *testing.F) {
	for _, text := range []string{
		"", "a: b", "a: { b", "a: } policy_type=no-policy-found {", "a: , b", "\u00e9: x\n", "a:\tb", "x: y }\r\n{ match=evil.example",
		"mx: *.a.b\n", "mx: hostname\n", strings.Repeat("x: 0123456789012345678901234567890123456789\n", 1400),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, extra string) {
		w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true}}, mode: mtasts.Enforce, listed: []string{"*.example.org"}, extra: extra}
		parsed, err := mtasts.ParsePolicy(w.text())
		if err != nil || parsed.Mode != mtasts.Enforce || len(w.text()) > mtasts.MaxPolicySize {
			return
		}
		plan, err := w.resolve(t, policy.Config{})
		if err != nil {
			t.Fatal(err)
		}
		r := postfix.Policy(plan, nil, postfix.Options{Client: postfix.PostfixTLSRPT})
		l, err := parse(r.Text)
		if err != nil || len(r.Text) >= 100_000 || l.level != "secure" || !slices.Equal(l.match(), []string{one}) {
			t.Fatalf("%q (%d octets): %v", r.Text, len(r.Text), err)
		}
		if patterns := l.attributes["mx_host_pattern"]; patterns != nil && !slices.Equal(patterns, parsed.MX) {
			t.Errorf("patterns %q, want %q", patterns, parsed.MX)
		}
		lines := parsed.Lines()
		for _, text := range l.attributes["policy_string"] {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.TrimSpace(line) == text }) {
				t.Errorf("%q is no line of the policy", text)
			}
		}
	})
}
