package postfix_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/vectorfile"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

// answerInput and answerResult are a case of testdata/answers.json, which docs/vectors.md
// explains.
type answerInput struct {
	What  string      `json:"what"`
	Facts factsVector `json:"facts"`
	Asks  clientWants `json:"client"`
}

type factsVector struct {
	InsecureMX   bool                     `json:"insecure_mx,omitempty"`
	Hosts        []hostFacts              `json:"hosts"`
	MTASTS       mtasts.Mode              `json:"mta_sts,omitempty"`
	Patterns     []string                 `json:"patterns,omitempty"`
	Lines        string                   `json:"further_lines,omitempty"`
	Unreadable   bool                     `json:"policy_unknown,omitempty"`
	Floor        string                   `json:"floor,omitempty"`
	RequireDANE  bool                     `json:"require_dane,omitempty"`
	RequireBoth  bool                     `json:"require_both,omitempty"`
	RequireRoute bool                     `json:"require_route,omitempty"`
	RequireTLS   bool                     `json:"require_tls,omitempty"`
	Pin          []dane.Record            `json:"pin,omitempty"`
	HostPins     map[string][]dane.Record `json:"host_pins,omitempty"`
	NextHop      string                   `json:"next_hop,omitempty"`
}

type hostFacts struct {
	Name     string   `json:"name"`
	Insecure bool     `json:"insecure,omitempty"`
	TLSA     []string `json:"tlsa,omitempty"`
	Fails    string   `json:"fails,omitempty"` // tlsa or address
	NoAddr   bool     `json:"no_address,omitempty"`
}

type clientWants struct {
	Program         string `json:"program"`
	Fingerprints    bool   `json:"fingerprints,omitempty"`
	DeferInsecureMX bool   `json:"defer_insecure_mx,omitempty"`
	TestingReports  bool   `json:"testing_reports,omitempty"`
	Via             string `json:"via,omitempty"`
}

type answerResult struct {
	Plan   *planVector  `json:"plan,omitempty"`
	Error  string       `json:"error,omitempty"` // permanent or temporary; in place of a plan
	Floor  string       `json:"floor,omitempty"` // with Error
	Answer answerVector `json:"answer"`
}

type planVector struct {
	NextHop   string       `json:"next_hop"`
	Via       string       `json:"via,omitempty"`
	SecureMX  bool         `json:"secure_mx"`
	Omitted   int          `json:"omitted,omitempty"`
	Permanent bool         `json:"permanent,omitempty"`
	Policy    *stsVector   `json:"mta_sts,omitempty"`
	Hosts     []hostDemand `json:"hosts"`
}

type stsVector struct {
	Mode  mtasts.Mode `json:"mode"`
	MX    []string    `json:"mx"`
	Lines []string    `json:"lines"`
}

type hostDemand struct {
	Name         string        `json:"name"`
	Preference   uint16        `json:"preference"`
	Level        string        `json:"level"`
	Floor        string        `json:"floor,omitempty"`
	DecidedBy    []string      `json:"decided_by"`
	TLSA         []dane.Record `json:"tlsa,omitempty"`
	Certificate  []string      `json:"certificate,omitempty"`
	DANEOff      bool          `json:"dane_off,omitempty"`
	LookupFailed bool          `json:"lookup_failed,omitempty"`
}

type answerVector struct {
	Status string       `json:"status"` // found, notfound or temp
	Policy string       `json:"policy,omitempty"`
	Weaker bool         `json:"weaker,omitempty"`
	Lost   []lossVector `json:"lost,omitempty"`
}

type lossVector struct {
	Reason postfix.Reason `json:"reason"`
	Hosts  []string       `json:"hosts"`
}

var (
	programs = []string{"postfix", "postfix-tlsrpt", "sendmail"} // by postfix.Client
	floors   = []policy.Level{policy.Refused, policy.Encrypted, policy.Authenticated}
)

func levelName(l policy.Level) string { return strings.ToLower(l.String()) }

// floorName is levelName, and empty if nothing is demanded.
func floorName(l policy.Level) string {
	if l == policy.Opportunistic {
		return ""
	}
	return levelName(l)
}

// world returns what a test of rows has, and the options of the plan.
func (f factsVector) world() (w world, config policy.Config, options []policy.Option) {
	w = world{insecureMX: f.InsecureMX, mode: f.MTASTS, listed: f.Patterns, extra: f.Lines, unreadable: f.Unreadable}
	for _, h := range f.Hosts {
		w.hosts = append(w.hosts, mx{name: h.Name, insecure: h.Insecure, tlsa: h.TLSA, tlsaFails: h.Fails == "tlsa", addrFails: h.Fails == "address", noAddr: h.NoAddr})
	}
	config = policy.Config{RequireDANE: f.RequireDANE, RequireRoute: f.RequireRoute}
	for _, level := range floors[1:] {
		if f.Floor == levelName(level) {
			config.Floor = level
		}
	}
	if f.RequireBoth {
		config.Precedence = policy.RequireBoth
	}
	if f.Pin != nil || f.NextHop != "" {
		config.Overrides = map[string]policy.Override{domain: {Pin: f.Pin, NextHop: f.NextHop}}
	}
	for host, pin := range f.HostPins {
		if config.HostOverrides == nil {
			config.HostOverrides = make(map[string]policy.HostOverride)
		}
		config.HostOverrides[host] = policy.HostOverride{Pin: pin}
	}
	if f.RequireTLS {
		options = append(options, policy.RequireTLS())
	}
	return w, config, options
}

// factsOf returns what a row says.
func factsOf(r row) factsVector {
	f := factsVector{
		InsecureMX: r.world.insecureMX, MTASTS: r.world.mode, Patterns: r.world.listed, Lines: r.world.extra, Unreadable: r.world.unreadable,
		RequireDANE: r.config.RequireDANE, RequireRoute: r.config.RequireRoute, RequireBoth: r.config.Precedence == policy.RequireBoth,
		Pin: r.config.Overrides[domain].Pin, NextHop: r.config.Overrides[domain].NextHop,
	}
	if r.config.Floor != policy.Refused {
		f.Floor = levelName(r.config.Floor)
	}
	for _, h := range r.world.hosts {
		facts := hostFacts{Name: h.name, Insecure: h.insecure, TLSA: h.tlsa, NoAddr: h.noAddr}
		switch {
		case h.tlsaFails:
			facts.Fails = "tlsa"
		case h.addrFails:
			facts.Fails = "address"
		}
		f.Hosts = append(f.Hosts, facts)
	}
	for host, override := range r.config.HostOverrides {
		if f.HostPins == nil {
			f.HostPins = make(map[string][]dane.Record)
		}
		f.HostPins[host] = override.Pin
	}
	return f
}

// answerClient makes the plan of the facts, and the answer to the client.
func answerClient(t *testing.T, input answerInput) answerResult {
	w, config, options := input.Facts.world()
	plan, err := w.resolve(t, config, options...)
	asks := input.Asks
	got := postfix.Policy(plan, err, postfix.Options{
		Client: postfix.Client(slices.Index(programs, asks.Program)), Fingerprints: asks.Fingerprints,
		DeferInsecureMX: asks.DeferInsecureMX, TestingReports: asks.TestingReports, Via: asks.Via,
	})
	r := answerResult{Answer: answerVector{Status: strings.ToLower(written(got)), Weaker: got.Weaker}}
	if got.Status == postfix.Found {
		r.Answer.Status, r.Answer.Policy = "found", got.Text
	}
	for _, loss := range got.Inexact {
		r.Answer.Lost = append(r.Answer.Lost, lossVector(loss))
	}
	var failure *policy.Error
	switch {
	case err == nil:
		r.Plan = newPlanVector(plan)
	case errors.As(err, &failure) && failure.Permanent:
		r.Error, r.Floor = "permanent", floorName(failure.Floor)
	default:
		r.Error = "temporary"
	}
	return r
}

func newPlanVector(plan *policy.Plan) *planVector {
	v := &planVector{NextHop: plan.NextHop, Via: plan.Via, SecureMX: plan.MXStatus == dnssec.Secure, Omitted: plan.Omitted()}
	if p := plan.MTASTS.Policy; p != nil {
		v.Policy = &stsVector{Mode: p.Mode, MX: append([]string{}, p.MX...), Lines: p.Lines()}
	}
	var refusals []*policy.Error
	for _, h := range plan.Hosts {
		d := hostDemand{
			Name: h.Name, Preference: h.Preference, Level: levelName(h.Level), Floor: floorName(h.Floor), DecidedBy: []string{}, TLSA: h.TLSA, Certificate: h.WebPKINames(),
			DANEOff: h.DANE != nil && h.DANE.State == dane.Unknown,
		}
		by := h.By
		if h.Refusal != nil {
			refusals = append(refusals, h.Refusal)
			d.LookupFailed = errors.Is(h.Refusal, policy.ErrLookupFailed)
			by = h.Refusal.By
		}
		for _, m := range []policy.Mechanism{policy.ByDANE, policy.ByMTASTS, policy.ByOperator} {
			if by.Has(m) {
				d.DecidedBy = append(d.DecidedBy, strings.ToLower(m.String()))
			}
		}
		v.Hosts = append(v.Hosts, d)
	}
	v.Permanent = len(refusals) == len(plan.Hosts) && plan.Failed(refusals...).Permanent
	return v
}

// answerInputs are every row of the table, for every client; every pair of hosts under every
// policy; and a choice of the combinations with the wishes of operators.
func answerInputs(t *testing.T) (inputs []answerInput) {
	const largest = 20_000 // octets of the facts: Postfix reads 100,000 of an answer
	for _, r := range rows(t) {
		facts := factsOf(r)
		if text, err := json.Marshal(facts); err != nil || len(text) > largest {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		asks := clientWants{Program: programs[r.options.Client], Fingerprints: r.options.Fingerprints, DeferInsecureMX: r.options.DeferInsecureMX, TestingReports: r.options.TestingReports, Via: r.options.Via}
		inputs = append(inputs, answerInput{"row " + r.name, facts, asks})
		for client, program := range programs {
			if other := asks; client != int(r.options.Client) {
				other.Program = program
				inputs = append(inputs, answerInput{"row " + r.name + ", asked by " + program, facts, other})
			}
		}
	}
	for _, program := range programs {
		asks := clientWants{Program: program}
		inputs = append(inputs,
			answerInput{"the lookup of the MX records fails", factsVector{Hosts: []hostFacts{}}, asks},
			answerInput{"the domain accepts no mail", factsVector{Hosts: []hostFacts{{}}}, asks},
			answerInput{"the domain accepts no mail, and all sessions must be encrypted", factsVector{Hosts: []hostFacts{{}}, Floor: levelName(policy.Encrypted)}, asks},
			answerInput{"the domain accepts no mail, and all sessions must be authenticated", factsVector{Hosts: []hostFacts{{}}, Floor: levelName(policy.Authenticated)}, asks},
			answerInput{"the domain accepts no mail, says an answer that is not signed", factsVector{InsecureMX: true, Hosts: []hostFacts{{}}, MTASTS: mtasts.Enforce, Patterns: []string{one}}, asks})
	}
	kinds := []hostFacts{
		{TLSA: []string{key("3 1 1", 1)}}, {TLSA: []string{key("2 1 1", 3)}}, {TLSA: []string{key("0 0 1", 4)}}, {}, {Insecure: true}, {Fails: "tlsa"}, {Fails: "address"}, {NoAddr: true},
		{TLSA: []string{key("3 1 1", 2), key("3 0 1", 5)}}, {TLSA: []string{key("3 1 1", 1), "3 1 2 " + strings.Repeat("06", 64)}},
	}
	pair := func(a, b hostFacts) []hostFacts {
		a.Name, b.Name = one, two
		return []hostFacts{a, b}
	}
	policies := []factsVector{
		{}, {MTASTS: mtasts.Enforce, Patterns: []string{"*.example.org"}}, {MTASTS: mtasts.Enforce, Patterns: []string{two}}, {MTASTS: mtasts.Testing, Patterns: []string{"*.example.org"}}, {MTASTS: mtasts.None},
	}
	for i, a := range kinds[:8] {
		for j, b := range kinds[:8] {
			for k, f := range policies[:4] {
				f.Hosts, f.InsecureMX = pair(a, b), (i+j+k)%2 == 1
				inputs = append(inputs, answerInput{"two hosts", f, clientWants{Program: programs[(i+j/2+k)%2]}})
			}
			f := factsVector{Hosts: pair(a, b), InsecureMX: i%2 == 1, Floor: levelName(policy.Encrypted)}
			inputs = append(inputs, answerInput{"two hosts, encrypted at least", f, clientWants{Program: programs[(i+j/2)%3], Fingerprints: j%2 == 1}})
		}
	}
	r := rand.New(rand.NewPCG(1, 0))
	pick := func(n int) bool { return r.IntN(n) == 0 }
	for range 500 {
		f := policies[r.IntN(len(policies))]
		f.InsecureMX = pick(2)
		for i := range 1 + r.IntN(4) {
			h := kinds[r.IntN(len(kinds))]
			h.Name = fmt.Sprintf("mx%d.example.org", i+1)
			f.Hosts = append(f.Hosts, h)
		}
		switch r.IntN(12) {
		case 0:
			f.Floor = levelName(floors[1])
		case 1:
			f.Floor = levelName(floors[2])
		case 2:
			f.RequireDANE = true
		case 3:
			f.RequireBoth = true
		case 4:
			f.RequireRoute = true
		case 5:
			f.RequireTLS = true
		case 6:
			f.Pin = records(t, key("3 1 1", 7))
		case 7:
			f.HostPins = map[string][]dane.Record{one: records(t, key("3 1 1", 7), key("3 0 1", 8))}
		case 8:
			f.HostPins = map[string][]dane.Record{two: records(t, key("2 1 1", 7)), "mx3.example.org": records(t, key("3 1 1", 9))}
		case 9:
			f.Unreadable, f.MTASTS, f.Patterns = true, "", nil
		}
		asks := clientWants{Program: programs[r.IntN(len(programs))], Fingerprints: pick(4), DeferInsecureMX: pick(3), TestingReports: pick(3)}
		inputs = append(inputs, answerInput{"a combination", f, asks})
	}
	return inputs
}

// The vectors for other policy maps have the results of this one. Another
// reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	inputs := answerInputs(t)
	if len(inputs) < 900 {
		t.Errorf("only %d answers", len(inputs))
	}
	vectorfile.Check(t, "testdata/answers.json", inputs, answerClient)
}
