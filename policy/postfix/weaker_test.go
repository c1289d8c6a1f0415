package postfix_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

// session is what Postfix demands of a session with a host. Its zero value is no session at all.
type session struct {
	possible bool
	tls      bool
	dane     bool     // a match with the TLSA records in DNS
	names    []string // a certificate for one of these
	digests  []string // a certificate or key with one of these digests
}

// of returns what Postfix does with a host by a policy. blind is a Postfix whose resolver does not
// validate, so that nothing is secure. Without a policy, main.cf has the level may.
func (l line) of(w world, h mx, blind bool) session {
	mxSecure := !w.insecureMX && !blind
	failed := h.addrFails || h.tlsaFails && !h.insecure && !blind
	records := h.tlsa
	if h.insecure || blind {
		records = nil
	}
	usable := slices.ContainsFunc(records, func(data string) bool { return data[0] == '2' || data[0] == '3' })
	byDANE := func(without session) session {
		switch {
		case failed:
			return session{}
		case usable:
			return session{possible: true, tls: true, dane: true}
		case records != nil:
			without.tls = true
			return without
		}
		return without
	}
	switch l.level {
	case "":
		return session{possible: true}
	case "dane":
		return byDANE(session{possible: true})
	case "dane-only":
		if s := byDANE(session{}); s.dane && mxSecure {
			return s
		}
		return session{}
	case "encrypt":
		return session{possible: true, tls: true}
	case "secure":
		return session{possible: true, tls: true, names: l.match()}
	case "fingerprint":
		return session{possible: true, tls: true, digests: l.match()}
	}
	panic(l.level)
}

// against returns what the plan demands and the session does not; "" if nothing.
func (s session) against(h *policy.Host, plan *policy.Plan, weaker bool) string {
	certain := func(names ...string) bool {
		return s.names != nil && !slices.ContainsFunc(s.names, func(name string) bool { return !slices.Contains(names, name) })
	}
	pinned := len(h.TLSA) > 0 && (h.DANE == nil || h.DANE.State != dane.Usable)
	switch {
	case !s.possible || h.Level == policy.Refused && h.Refusal.By == 0:
		return ""
	// A session for which the name of another host is demanded is as good as one with that host.
	case s.names != nil && !slices.Contains(s.names, h.Name) && !slices.Contains(s.names, plan.NextHop):
		return ""
	// And one with the key of a host that nothing but keys authenticate.
	case s.digests != nil:
		if !areKeysOf(plan, s.digests) {
			return "a key of the plan"
		}
		return ""
	case h.Level == policy.Refused:
		return "no session"
	case len(h.TLSA) > 0 && len(h.WebPKINames()) > 0:
		if weaker && s.names != nil {
			return ""
		}
		return "both"
	case pinned:
		return "a pin"
	case len(h.TLSA) > 0 && !s.dane:
		return "DANE"
	case len(h.WebPKINames()) > 0 && s.names == nil && !s.dane:
		return "a certificate"
	case slices.Equal(h.WebPKINames(), []string{plan.NextHop}) && s.names != nil && !certain(plan.NextHop):
		return "a certificate for the next hop"
	case h.Level == policy.Encrypted && !s.tls:
		return "TLS"
	}
	return ""
}

func areKeysOf(plan *policy.Plan, digests []string) bool {
	var keys []string
	for _, h := range plan.Hosts {
		for _, record := range h.TLSA {
			if h.Level == policy.Authenticated && h.WebPKINames() == nil && record.Usage == dane.DANEEE {
				keys = append(keys, hex.EncodeToString(record.Data))
			}
		}
	}
	return !slices.ContainsFunc(digests, func(text string) bool { return !slices.Contains(keys, strings.ReplaceAll(text, ":", "")) })
}

// randomWorld returns a domain in any state, and how the operator treats it.
func randomWorld(t testing.TB, r *rand.Rand) (world, policy.Config) {
	pick := func(n int) bool { return r.IntN(n) == 0 }
	w := world{insecureMX: pick(2), unreadable: pick(12)}
	var all []string
	for i := range 1 + r.IntN(3) {
		h := mx{name: fmt.Sprintf("mx%d.example.org", i), insecure: pick(3), addrFails: pick(12), tlsaFails: pick(8), noAddr: pick(20), preference: 10 + 10*r.IntN(3)}
		switch r.IntN(6) {
		case 0, 1:
			h.tlsa = []string{key("3 1 1", byte(i))}
		case 2:
			h.tlsa = []string{key("2 1 1", byte(i))}
		case 3:
			h.tlsa = []string{key("1 1 1", byte(i))}
		}
		w.hosts, all = append(w.hosts, h), append(all, h.name)
	}
	switch w.mode = []mtasts.Mode{"", mtasts.None, mtasts.Testing, mtasts.Enforce, mtasts.Enforce}[r.IntN(5)]; {
	case pick(2):
		w.listed = []string{"*.example.org"}
	default:
		w.listed = all[:1+r.IntN(len(all))]
	}
	c := policy.Config{
		Floor: policy.Level(r.IntN(4)), RequireDANE: pick(10), RequireRoute: pick(10), NoDANE: pick(15), NoMTASTS: pick(15),
		NoDANEForInsecureMX: pick(10), Overrides: map[string]policy.Override{}, HostOverrides: map[string]policy.HostOverride{},
	}
	if c.NoDANE {
		c.RequireDANE = false
	}
	if pick(4) {
		c.Precedence = policy.RequireBoth
	}
	pins := func() []dane.Record {
		return records(t, key([]string{"3 1 1", "3 1 1", "2 1 1"}[r.IntN(3)], byte(100+r.IntN(2))))
	}
	if pick(6) {
		c.Overrides[domain] = policy.Override{Pin: pins()}
	}
	for _, name := range all {
		switch r.IntN(8) {
		case 0:
			c.HostOverrides[name] = policy.HostOverride{Pin: pins()}
		case 1:
			c.HostOverrides[name] = policy.HostOverride{NoDANE: !c.RequireDANE}
		case 2:
			c.HostOverrides[name] = policy.HostOverride{Floor: policy.Level(1 + r.IntN(3))}
		}
	}
	return w, c
}

// For no host does Postfix demand less than the plan, whatever the domain is like and the operator
// wants, except in the one row for which Reply.Weaker is true. A Postfix that gets fingerprints because its
// resolver does not validate demands as much.
func TestNeverWeakerThanThePlan(t *testing.T) {
	r := seed.Rand(t)
	seen := map[string]int{}
	for range 10_000 {
		w, c := randomWorld(t, r)
		plan, err := w.resolve(t, c)
		o := postfix.Options{
			Client: postfix.Client(r.IntN(2)), Fingerprints: r.IntN(3) == 0, DeferInsecureMX: r.IntN(2) == 0, TestingReports: r.IntN(2) == 0,
		}
		reply := postfix.Policy(plan, err, o)
		seen[reply.Level()]++
		if reply.Status == postfix.Temporary {
			continue
		}
		var l line
		if reply.Status == postfix.Found {
			if l, err = parse(reply.Text); err != nil {
				t.Fatalf("%s: %v", reply.Text, err)
			}
		}
		if err != nil {
			continue
		}
		enforced := plan.MTASTS.Mode() == mtasts.Enforce
		if reply.Weaker && (o.DeferInsecureMX || !w.insecureMX || !enforced) {
			t.Fatalf("%+v, %+v: %s is weaker", w, o, reply.Text)
		}
		for _, h := range w.hosts {
			host := plan.Host(h.name)
			if missing := l.of(w, h, o.Fingerprints).against(host, plan, reply.Weaker); missing != "" {
				t.Fatalf("%+v\nconfig %+v\noptions %+v\nPostfix gets %q, and does not demand %s of %s, which is %s by %s: %s", w, c, o, reply.Text, missing, h.name, host.Level, host.By, host.Why)
			}
			if patterns := l.attributes["mx_host_pattern"]; l.level == "secure" && patterns != nil && host.Level == policy.Refused && host.Refusal.By != 0 {
				if (&mtasts.Policy{MX: patterns}).MatchMX(h.name) {
					t.Fatalf("%+v: %s matches %q although it is refused: %s", w, h.name, patterns, host.Why)
				}
			}
		}
	}
	for _, level := range []string{"notfound", "temp", "dane", "dane-only", "secure", "encrypt", "fingerprint"} {
		if seen[level] < 50 {
			t.Errorf("%d answers are %s", seen[level], level)
		}
	}
	t.Log(seen)
}

// A denial that is not secure may be forged. It does not lift what the operator demands: a
// client that knows hosts of the domain nevertheless must not send mail to them without that.
func TestForgedDenialLiftsNoDemand(t *testing.T) {
	pinned, err := dane.ParseRecord(key("3 1 1", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		config policy.Config
		want   string
	}{
		{"nothing is demanded", policy.Config{}, notFound},
		{"TLS", policy.Config{Floor: policy.Encrypted}, "encrypt protocols=>=TLSv1.2"},
		{"TLS of this domain", policy.Config{Overrides: map[string]policy.Override{domain: {Floor: policy.Encrypted}}}, "encrypt protocols=>=TLSv1.2"},
		{"authentication", policy.Config{Floor: policy.Authenticated}, temp},
		{"the route", policy.Config{RequireRoute: true}, temp},
		{"a pinned key", policy.Config{Overrides: map[string]policy.Override{domain: {Pin: []dane.Record{pinned}}}}, temp},
		{"DANE", policy.Config{RequireDANE: true}, temp},
	} {
		for denied, w := range map[string]world{
			"no host has an address": {insecureMX: true, hosts: []mx{{name: one, insecure: true, noAddr: true}}},
			"null MX":                {insecureMX: true, hosts: []mx{{name: ""}}},
		} {
			plan, err := w.resolve(t, test.config)
			if got := postfix.Policy(plan, err, postfix.Options{}); written(got) != test.want {
				t.Errorf("%s, %s: %s, want %s", test.name, denied, written(got), test.want)
			}
			// It cannot say "encrypt".
			want := strings.Replace(test.want, "encrypt protocols=>=TLSv1.2", temp, 1)
			if got := postfix.Policy(plan, err, postfix.Options{Client: postfix.Sendmail}); written(got) != want {
				t.Errorf("%s, %s, sendmail: %s, want %s", test.name, denied, written(got), want)
			}
		}
	}
	// What is demanded of one host counts while the MX records name that host.
	w := world{insecureMX: true, hosts: []mx{{name: one, insecure: true, noAddr: true}, {name: two, insecure: true, noAddr: true}}}
	plan, err := w.resolve(t, policy.Config{HostOverrides: map[string]policy.HostOverride{two: {Floor: policy.Encrypted}}})
	if got := postfix.Policy(plan, err, postfix.Options{}); written(got) != "encrypt protocols=>=TLSv1.2" {
		t.Errorf("a host: %s", written(got))
	}
}
