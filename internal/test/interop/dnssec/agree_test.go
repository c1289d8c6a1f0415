package dnssec

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// TestStatusesAgree asks our validator, unbound and delv the same questions.
// They must return the same status for each answer, and ours must return the
// same records as unbound. delv needs a new process for each question. It is
// asked all questions if the environment asks for the complete comparison, and
// otherwise those with a known answer.
func TestStatusesAgree(t *testing.T) {
	tr, anchorFile := newTree(t, parents)
	recursive := dnsserver.RecursiveConfig{Authorities: tr.serve(t), AnchorFile: anchorFile}
	upstream := dnsserver.Unbound(t, recursive)
	judge := dnsserver.Unbound(t, recursive)
	bindKeys := filepath.Join(t.TempDir(), "bind.keys")
	dnsserver.WriteFile(t, bindKeys, bindAnchors(tr.zones[0].Keys()))

	c := &comparison{
		ours:    ours(t, upstream.Port, anchorFile, false),
		sha1:    ours(t, upstream.Port, anchorFile, true),
		unbound: unbound(judge.Port),
		delv:    delv(t, upstream.Port, bindKeys),
		counts:  map[dnssec.Status]int{},

		thorough: interop.Complete(),
	}
	t.Run("zone", func(t *testing.T) { // returns when its parallel subtests are done
		for _, p := range parents {
			for _, v := range p.variants {
				origin := v.name + "." + p.name + "."
				t.Run(strings.TrimSuffix(origin, "."), func(t *testing.T) {
					t.Parallel()
					c.run(t, v, origin)
				})
			}
		}
	})
	t.Logf("%d questions: %d secure, %d insecure, %d bogus; delv was asked %d of them", c.total(),
		c.counts[dnssec.Secure], c.counts[dnssec.Insecure], c.counts[dnssec.Bogus], c.delved)
	if left := c.total() - c.delved; left > 0 {
		interop.NotCompared(t, "%d of %d questions with delv; MXSEAL_INTEROP=1 compares them", left, c.total())
	}
}

// A comparison asks the three validators and counts their agreements.
type comparison struct {
	ours, unbound, delv ask
	sha1                ask  // ours, with SHA-1 enabled
	thorough            bool // ask delv all questions

	mu     sync.Mutex // guards the following fields
	counts map[dnssec.Status]int
	delved int
}

func (c *comparison) count(status dnssec.Status, delved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[status]++
	if delved {
		c.delved++
	}
}

func (c *comparison) total() int {
	sum := 0
	for _, n := range c.counts {
		sum += n
	}
	return sum
}

func (c *comparison) run(t *testing.T, v variant, origin string) {
	questions := v.questions
	if questions == nil {
		questions = common
	}
	asked := map[question]bool{}
	for _, q := range questions {
		asked[q] = true
		c.compare(t, v, q, origin)
	}
	for q := range v.want {
		if !asked[q] {
			c.compare(t, v, q, origin)
		}
	}
}

func (c *comparison) compare(t *testing.T, v variant, q question, origin string) {
	t.Helper()
	name := origin
	if q.name != "" {
		name = q.name + "." + origin
	}
	want, chosen := v.want[q]
	validator := c.ours
	if v.sha1 {
		validator = c.sha1
	}
	mine := validator(t, name, q.rrtype)
	others := []verdict{c.unbound(t, name, q.rrtype)}
	if chosen || c.thorough {
		others = append(others, c.delv(t, name, q.rrtype))
	}
	c.count(mine.status, chosen || c.thorough)

	agree := want == "" || want == mine.status.String()
	var report strings.Builder
	report.WriteString(mine.report())
	for _, other := range others {
		_, lax := v.lax[other.who]
		agree = agree && (mine.agrees(other) || lax && other.status > mine.status)
		report.WriteString(other.report())
	}
	if !agree {
		t.Errorf("%s %s%s\n%s", name, dns.Type(q.rrtype), expectation(want), report.String())
	}
}

func expectation(want string) string {
	if want == "" {
		return ""
	}
	return " (should be " + want + ")"
}

// agrees compares the statuses and, if known, the data.
func (v verdict) agrees(other verdict) bool {
	if v.status != other.status || other.who == "delv" {
		return v.status == other.status
	}
	return v.rcode == other.rcode && v.data == other.data
}

func (v verdict) report() string {
	return fmt.Sprintf("%-8s %s %s\n\t%s\n", v.who, v.status, dns.RcodeToString[v.rcode],
		strings.ReplaceAll(strings.TrimSpace(v.data+"\n"+v.detail), "\n", "\n\t"))
}
