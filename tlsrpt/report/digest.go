package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Digest sums up the reports of many senders and days. The zero value is an empty Digest.
// Its size is limited, whatever the reports contain: at its limits it sums what it cannot
// list, and omits reports. Its methods must not be called concurrently.
type Digest struct {
	seen       map[identity]struct{}
	duplicates int
	omitted    int
	period     period
	domains    map[domainKey]*domainSums
	entries    int // in all maps below domains
}

// The limits of a Digest: of all its reports and entries, and of single lists.
const (
	maxReports   = 1 << 18
	maxEntries   = 1 << 17
	maxDomains   = 10_000
	maxDays      = 3660
	maxSenders   = 1000
	maxProblems  = 1000
	maxHosts     = 100
	maxAddresses = 4
)

// others is the name of what is summed because a list is full.
const others = "(others)"

// identity is a hash of what identifies a report.
type identity [sha256.Size]byte

type domainKey struct {
	domain string
	kind   tlsrpt.PolicyType
}

type domainSums struct {
	period
	counts
	mode        string
	modeOf      Day // the day of the report that mode is from
	unexplained int64
	days        map[Day]*counts
	senders     map[string]*counts
	problems    map[problemKey]*problemSums
}

type problemKey struct {
	result tlsrpt.ResultType
	code   string
}

type problemSums struct {
	period
	sessions int64
	effect   Effect
	hosts    map[string]*hostSums
	senders  map[string]*struct{}
}

type hostSums struct {
	sessions  int64
	addresses []netip.Addr
}

type counts struct{ successes, failures int64 }

func (c *counts) add(s Summary) {
	c.successes, c.failures = sum(c.successes, s.Successes), sum(c.failures, s.Failures)
}

// sum adds numbers that are not negative, up to the greatest number.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// period has the first and the last day of something; none if some is false.
type period struct {
	first, last Day
	some        bool
}

func (p *period) add(day Day) {
	if !p.some {
		p.first, p.last, p.some = day, day, true
	}
	p.first, p.last = min(p.first, day), max(p.last, day)
}

// Add adds a report. It reports whether the report counts: it does not if it is there
// already, because it was sent to several addresses or again (RFC 8460 section 5.3), or if
// the Digest is full. Reports are equal if the sender, the report-id, the period and the
// policy domains are, or all of the content if there is no report-id.
func (d *Digest) Add(r *Report) bool {
	if d.seen == nil {
		d.seen, d.domains = make(map[identity]struct{}), make(map[domainKey]*domainSums)
	}
	id := r.identity()
	if _, known := d.seen[id]; known {
		d.duplicates++
		return false
	}
	if len(d.seen) >= maxReports || d.entries >= maxEntries {
		d.omitted++
		return false
	}
	d.seen[id] = struct{}{}
	// The middle of the period is on the right day even if the sender counts its days in
	// another time zone.
	day := DayOf(r.Dates.Start.Add(r.Dates.End.Sub(r.Dates.Start) / 2))
	d.period.add(day)
	for i := range r.Policies {
		d.add(day, r.sender(), &r.Policies[i])
	}
	return true
}

// identity returns the hash of what identifies a report.
func (r *Report) identity() identity {
	identified := []any{r.Organization, r.Contact, r.ID, r.Dates}
	for i := range r.Policies {
		if r.ID == "" {
			identified = append(identified, r.Policies[i])
		} else {
			identified = append(identified, r.Policies[i].Policy.Type, r.Policies[i].Policy.Domain)
		}
	}
	text, err := json.Marshal(identified)
	if err != nil { // for dates after the year 9999
		text = []byte(r.ID)
	}
	return sha256.Sum256(text)
}

// sender returns the name of the sender.
func (r *Report) sender() string {
	return cmp.Or(kept(r.Organization), kept(r.Contact), "(no name)")
}

// kept returns s as the Digest keeps it.
func kept(s string) string { return strings.Clone(names.Mask(s, maxShown)) }

// keptName returns a domain or host in canonical form, if it has one.
func keptName(name string) string {
	if canonical, err := names.Canonical(strings.TrimSpace(name)); err == nil {
		return strings.Clone(canonical)
	}
	return kept(name)
}

// add adds the result of one policy in one report.
func (d *Digest) add(day Day, sender string, p *PolicyResult) {
	s := entry(d, d.domains, domainKey{keptName(p.Policy.Domain), tlsrpt.PolicyType(kept(string(p.Policy.Type)))},
		domainKey{domain: others}, maxDomains)
	if s.days == nil {
		s.days, s.senders, s.problems = make(map[Day]*counts), make(map[string]*counts), make(map[problemKey]*problemSums)
	}
	s.period.add(day)
	s.counts.add(p.Summary)
	mode := modeOf(p.Policy.Strings)
	if mode != "" && (s.mode == "" || day >= s.modeOf) {
		s.mode, s.modeOf = mode, day
	}
	entry(d, s.days, day, math.MinInt64, maxDays).add(p.Summary)
	entry(d, s.senders, sender, others, maxSenders).add(p.Summary)
	var explained, remembered int64
	for i := range p.Details {
		effect := effectOf(&p.Policy, mode, p.Details[i].Type)
		if effect == MailRemembered {
			remembered = sum(remembered, p.Details[i].Sessions)
		} else {
			explained = sum(explained, p.Details[i].Sessions)
		}
		d.addDetail(s, day, sender, effect, &p.Details[i])
	}
	// Some senders count sessions that met a remembered policy as failed. If there are more
	// of them than failures, this sender does not, and they explain no failure.
	if remembered <= p.Summary.Failures {
		explained = sum(explained, remembered)
	}
	s.unexplained = sum(s.unexplained, max(0, p.Summary.Failures-explained))
}

func (d *Digest) addDetail(s *domainSums, day Day, sender string, effect Effect, detail *Detail) {
	p := entry(d, s.problems, problemKey{tlsrpt.ResultType(kept(string(detail.Type))), kept(detail.ReasonCode)},
		problemKey{result: others}, maxProblems)
	if p.hosts == nil {
		p.hosts, p.senders = make(map[string]*hostSums), make(map[string]*struct{})
	}
	p.period.add(day)
	p.sessions = sum(p.sessions, detail.Sessions)
	if effect.rank() > p.effect.rank() {
		p.effect = effect
	}
	entry(d, p.senders, sender, others, maxSenders)
	if !detail.Type.AboutHost() || detail.MXHost == "" && detail.HELO == "" && !detail.ReceivingIP.IsValid() {
		return
	}
	host := entry(d, p.hosts, keptName(cmp.Or(detail.MXHost, firstWord(detail.HELO))), others, maxHosts)
	host.sessions = sum(host.sessions, detail.Sessions)
	if ip := detail.ReceivingIP; ip.IsValid() && len(host.addresses) < maxAddresses && !slices.Contains(host.addresses, ip) {
		host.addresses = append(host.addresses, ip)
	}
}

// firstWord returns the name in a greeting or in a whole reply to EHLO, which some senders
// report.
func firstWord(helo string) string {
	line, _, _ := strings.Cut(helo, "\n")
	line = strings.TrimPrefix(strings.TrimPrefix(line, "250-"), "250 ")
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return word
}

// entry returns the entry of a key, which it adds. If the list or the Digest is full, it is
// the entry of the key other.
func entry[K comparable, V any](d *Digest, list map[K]*V, key, other K, limit int) *V {
	if known := list[key]; known != nil {
		return known
	}
	if len(list) >= limit || d.entries >= maxEntries {
		key = other
		if known := list[key]; known != nil {
			return known
		}
	}
	d.entries++
	added := new(V)
	list[key] = added
	return added
}

// modeOf returns the mode in the lines of an MTA-STS policy. Some senders write them as
// one string.
func modeOf(lines []string) string {
	for _, text := range lines {
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(line, ":")
			if strings.TrimSpace(key) == "mode" {
				return kept(strings.TrimSpace(value))
			}
		}
	}
	return ""
}

// Overview returns what the reports say, the worst first.
func (d *Digest) Overview() Overview {
	o := Overview{
		Reports: len(d.seen), Duplicates: d.duplicates, Omitted: d.omitted, First: d.period.first, Last: d.period.last,
		Domains: make([]DomainOverview, 0, len(d.domains)),
	}
	reasons := tlsrpt.Reasons()
	for key, s := range d.domains {
		o.Domains = append(o.Domains, s.overview(key, reasons))
	}
	slices.SortFunc(o.Domains, func(a, b DomainOverview) int {
		return cmp.Or(
			cmp.Compare(b.worst(), a.worst()),
			cmp.Compare(b.Failures, a.Failures),
			cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Type, b.Type),
		)
	})
	return o
}

// worst returns the rank of the worst effect.
func (o *DomainOverview) worst() int {
	worst := 0
	for i := range o.Problems {
		worst = max(worst, o.Problems[i].Effect.rank())
	}
	return worst
}

func (s *domainSums) overview(key domainKey, reasons []tlsrpt.Reason) DomainOverview {
	o := DomainOverview{
		Domain: key.domain, Type: key.kind, Mode: s.mode,
		Successes: s.successes, Failures: s.failures, Unexplained: s.unexplained, First: s.first, Last: s.last,
		Days: make([]DaySum, 0, len(s.days)), Senders: make([]SenderSum, 0, len(s.senders)), Problems: make([]Problem, 0, len(s.problems)),
	}
	for _, day := range slices.Sorted(maps.Keys(s.days)) {
		if c := s.days[day]; day != math.MinInt64 {
			o.Days = append(o.Days, DaySum{day, c.successes, c.failures})
		}
	}
	for name, c := range s.senders {
		o.Senders = append(o.Senders, SenderSum{name, c.successes, c.failures})
	}
	slices.SortFunc(o.Senders, func(a, b SenderSum) int {
		return cmp.Or(cmp.Compare(b.Failures, a.Failures), cmp.Compare(b.Successes, a.Successes), cmp.Compare(a.Sender, b.Sender))
	})
	for key, p := range s.problems {
		o.Problems = append(o.Problems, p.overview(key, reasons))
	}
	// What goes on comes before what is over.
	slices.SortFunc(o.Problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(b.Effect.rank(), a.Effect.rank()),
			cmp.Compare(b.Last, a.Last),
			cmp.Compare(b.Sessions, a.Sessions),
			cmp.Compare(a.Type, b.Type), cmp.Compare(a.ReasonCode, b.ReasonCode),
		)
	})
	return o
}

func (s *problemSums) overview(key problemKey, reasons []tlsrpt.Reason) Problem {
	p := Problem{
		Type: key.result, ReasonCode: key.code, Effect: s.effect, Sessions: s.sessions,
		First: s.first, Last: s.last, Senders: slices.Sorted(maps.Keys(s.senders)),
	}
	p.Meaning, p.Advice = explain(tlsrpt.Failure{Type: key.result, ReasonCode: key.code}, reasons)
	for name, host := range s.hosts {
		p.Hosts = append(p.Hosts, HostSum{name, slices.Clone(host.addresses), host.sessions})
	}
	slices.SortFunc(p.Hosts, func(a, b HostSum) int {
		return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Host, b.Host))
	})
	return p
}
