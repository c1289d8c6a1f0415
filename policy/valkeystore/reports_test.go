package valkeystore

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// A Store on a real server meets the requirements of package storetest.
func TestStoreMeetsRequirements(t *testing.T) {
	srv := startServer(t)
	openNamed := func(t *testing.T, name string) *Store {
		return open(t, at(srv.addr, func(config *Config) { config.Prefix = name + ":" }))
	}
	storetest.Reports(t, func(t *testing.T, name string) reporter.Store { return openNamed(t, name).Reports() })
	storetest.Policies(t, func(t *testing.T, name string) mtasts.Store { return openNamed(t, name) })
}

var noPolicy = tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: domain}

func stsPolicy(id int) tlsrpt.Policy {
	return tlsrpt.Policy{
		Type: tlsrpt.STS, Domain: domain, MXHosts: []string{"mail.example.com"},
		Strings: []string{"version: STSv1", "mode: enforce", "mx: mail.example.com", fmt.Sprintf("max_age: %d", id)},
	}
}

func untrusted(helo string) report.Detail {
	return report.Detail{
		Type: tlsrpt.CertificateNotTrusted, ReasonCode: "self-signed", HELO: helo, MXHost: "mail.example.com",
		SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::1"),
	}
}

// sessions returns a result with some successes, and one failure for each
// detail.
func sessions(p tlsrpt.Policy, successes int64, details ...report.Detail) report.PolicyResult {
	r := report.PolicyResult{Policy: p, Summary: report.Summary{Successes: successes, Failures: int64(len(details))}}
	for _, d := range details {
		d.Sessions = 1
		r.Details = append(r.Details, d)
	}
	return r
}

func today() report.Day { return storetest.Day() }

// batch returns a batch for today.
func batch(writer string, number int64, domain string, results ...report.PolicyResult) *reporter.Batch {
	return &reporter.Batch{Writer: writer, Number: number, Sums: []reporter.DomainSums{{Day: today(), Domain: domain, Results: results}}}
}

func add(t testing.TB, r *Reports, b *reporter.Batch) {
	t.Helper()
	if err := r.Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func sums(t testing.TB, r *Reports, domain string) reporter.Part {
	t.Helper()
	part, err := r.Sums(t.Context(), today(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// total returns the number of sessions in a part.
func total(p reporter.Part) (n int64) {
	for _, r := range p.Sums {
		n += r.Summary.Successes + r.Summary.Failures
	}
	return n
}

// The limits of a domain apply exactly to the sums of several relays, each of
// which is within the limits. No session is lost.
func TestReportsOfSeveralRelaysKeepLimits(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	want := int64(0)
	for writer := range 3 {
		var results []report.PolicyResult
		for i := range 200 {
			results = append(results, sessions(stsPolicy(writer*200+i), 1, untrusted(fmt.Sprint("a", writer, i)),
				untrusted(fmt.Sprint("b", writer, i)), untrusted(fmt.Sprint("c", writer, i))))
			want += 4
		}
		add(t, r, batch(fmt.Sprint(writer), 1, domain, results...))
		add(t, r, batch(fmt.Sprint(writer), 2, domain, results...))
	}
	stored, err := srv.admin(t, "HGETALL", r.keys.open(today(), domain)).AsStrMap()
	if err != nil || stored["#policies"] != "257" || stored["#details"] != "1001" {
		t.Errorf("the server has %s policies and %s details, %v", stored["#policies"], stored["#details"], err)
	}
	part := sums(t, r, domain)
	if got := total(part); got != 2*want {
		t.Errorf("%d sessions, want %d", got, 2*want)
	}
	listed, omitted, plain := 0, 0, 0
	for _, result := range part.Sums {
		if len(result.Policy.Strings) == 0 {
			plain++
		}
		for _, d := range result.Details {
			if d.ReasonCode == reporter.DetailsOmitted {
				omitted++
			} else {
				listed++
			}
		}
	}
	if len(part.Sums) > 257 || plain != 1 || listed > 1000 || listed < 900 || omitted == 0 {
		t.Errorf("%d policies, of which %d sum up; %d details and %d that sum up", len(part.Sums), plain, listed, omitted)
	}
}

// The texts of a domain and the size of a call are limited too.
func TestReportsTextIsLimited(t *testing.T) {
	t.Parallel()
	r := open(t, at(startServer(t).addr)).Reports()
	var b reporter.Batch
	b.Writer = "w"
	for i := range 40 {
		sums := reporter.DomainSums{Day: today(), Domain: fmt.Sprintf("d%d.example", i)}
		for j := range 5 {
			p := stsPolicy(j)
			p.Strings = append(p.Strings, strings.Repeat("\x01", 15000)) // 90 kB in JSON
			sums.Results = append(sums.Results, sessions(p, 1))
		}
		b.Sums = append(b.Sums, sums)
	}
	all, err := additions(&reporter.Batch{Writer: "w", Number: 1, Sums: b.Sums})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for i := range all {
		sent += all[i].text()
	}
	if sent > maxBatchText+40*5*200 {
		t.Errorf("%d octets of text in a batch", sent)
	}
	b.Number = 1
	add(t, r, &b)
	for _, s := range b.Sums {
		if got := total(sums(t, r, s.Domain)); got != 5 {
			t.Errorf("%s: %d sessions", s.Domain, got)
		}
	}
	for i := range 60 {
		p := stsPolicy(i)
		p.Strings = append(p.Strings, strings.Repeat("\x01", 15000))
		add(t, r, batch("x", int64(i+1), domain, sessions(p, 1)))
	}
	part := sums(t, r, domain)
	const kept = maxText / 90_100 // by the server; a report could have more
	if total(part) != 60 || len(part.Sums) != kept+1 {
		t.Errorf("%d sessions in %d policies", total(part), len(part.Sums))
	}
}

// All stored keys expire, and changes of sums are not announced to relays.
func TestReportKeysExpire(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	r := s.Reports()
	add(t, r, batch("w", 1, domain, sessions(noPolicy, 1)))
	if _, err := r.Seal(t.Context(), today(), domain); err != nil {
		t.Fatal(err)
	}
	add(t, r, batch("w", 2, domain, sessions(noPolicy, 1)))
	if _, ok, err := r.Lease(t.Context(), today(), domain, time.Hour); err != nil || !ok {
		t.Fatal(ok, err)
	}
	names := srv.keys(t, "*")
	if len(names) != 7 {
		t.Errorf("keys %q", names)
	}
	for _, name := range names {
		ttl, err := srv.admin(t, "PTTL", name).AsInt64()
		left := time.Duration(ttl) * time.Millisecond
		if err != nil || left <= 59*time.Minute || left > keepSums {
			t.Errorf("%s has %v left, %v", name, left, err)
		}
		if !strings.Contains(name, ":lease:") && left < 3*24*time.Hour {
			t.Errorf("%s has only %v left", name, left)
		}
		if strings.HasPrefix(name, s.keys.policies) {
			t.Errorf("%s is taken for a policy", name)
		}
	}
	if err := r.DeleteBefore(t.Context(), today()-7); err != nil {
		t.Fatal(err)
	}
}

// Sums are kept for days after the last change, not after the beginning of
// their day, and by the server's clock. Late additions can be reported late.
func TestReportKeysAreKeptAgain(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	add(t, r, batch("w", 1, domain, sessions(noPolicy, 1)))
	for _, name := range srv.keys(t, "*") {
		srv.admin(t, "EXPIRE", name, "100")
	}
	add(t, r, batch("w", 2, domain, sessions(noPolicy, 1)))
	check := func(when string) {
		t.Helper()
		for _, name := range srv.keys(t, "*") {
			if ttl, err := srv.admin(t, "TTL", name).AsInt64(); err != nil || ttl <= 100 {
				t.Errorf("%s: %s has only %d s left, %v", when, name, ttl, err)
			}
		}
	}
	check("added")
	srv.admin(t, "EXPIRE", r.keys.open(today(), domain), "100")
	if _, err := r.Seal(t.Context(), today(), domain); err != nil {
		t.Fatal(err)
	}
	check("sealed")
}

// A full day accepts sums of known domains only, and refuses a batch with other
// domains completely. The same batch is refused again even if there is room by
// then, because its sums may have been added in other batches.
func TestReportsFullDayRefusesNewDomains(t *testing.T) {
	t.Parallel()
	r := open(t, at(startServer(t).addr)).Reports()
	r.maxDomains = 2
	add(t, r, batch("w", 1, "a.example", sessions(noPolicy, 1)))
	add(t, r, batch("w", 2, "b.example", sessions(noPolicy, 1)))
	two := batch("w", 3, "a.example", sessions(noPolicy, 1))
	two.Sums = append(two.Sums, batch("w", 3, "c.example", sessions(noPolicy, 1)).Sums...)
	for range 2 {
		if err := r.Add(t.Context(), two); !errors.Is(err, reporter.ErrStoreFull) {
			t.Fatalf("a third domain: %v", err)
		}
		r.maxDomains = 3
	}
	if got := total(sums(t, r, "a.example")); got != 1 {
		t.Errorf("half of a batch was added: %d", got)
	}
	add(t, r, batch("w", 4, "a.example", sessions(noPolicy, 1)))
	add(t, r, batch("w", 5, "c.example", sessions(noPolicy, 1)))
	add(t, r, two) // late, on a connection that was considered dead
	for name, want := range map[string]int64{"a.example": 2, "b.example": 1, "c.example": 1} {
		if got := total(sums(t, r, name)); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

// Sums that no Store can accept are refused, so that an Aggregator continues
// with others.
func TestReportsRefuseImpossibleSums(t *testing.T) {
	t.Parallel()
	r := open(t, at(startServer(t).addr)).Reports()
	negative := sessions(noPolicy, -1)
	many := sessions(noPolicy, 1<<53)
	for name, b := range map[string]*reporter.Batch{
		"no domain": batch("w", 1, "a b\x1b", sessions(noPolicy, 1)),
		"negative":  batch("w", 1, domain, negative),
		"too many":  batch("w", 1, domain, many),
	} {
		err := r.Add(t.Context(), b)
		if !errors.Is(err, reporter.ErrStoreFull) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Add(t.Context(), batch("w", 0, domain, sessions(noPolicy, 1))); err == nil || errors.Is(err, reporter.ErrStoreFull) {
		t.Errorf("a batch without a number: %v", err)
	}
	most := sessions(noPolicy, 1<<53-1)
	add(t, r, batch("w", 1, domain, most))
	if err := r.Add(t.Context(), batch("w", 2, domain, most)); !errors.Is(err, reporter.ErrStoreFull) {
		t.Errorf("more than can be reported: %v", err)
	}
	if got := total(sums(t, r, domain)); got != 1<<53-1 {
		t.Errorf("%d sessions", got)
	}
	add(t, r, batch("w", 3, domain)) // an empty batch
}

// A relay whose clock is days ahead cannot delete sums that others still
// report, for seven days. At midnight, it may be a day ahead.
func TestDeleteBeforeWithWrongClock(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	for day := today() - 9; day <= today(); day++ {
		b := batch("w", int64(day), domain, sessions(noPolicy, 1))
		b.Sums[0].Day = day
		add(t, r, b)
	}
	for _, ahead := range []report.Day{9, 3, 2} {
		for range 2 { // the first call could be a mistake
			if err := r.DeleteBefore(t.Context(), today()-7+ahead); err == nil || !strings.Contains(err.Error(), "clock") {
				t.Errorf("%d days ahead: %v", ahead, err)
			}
		}
	}
	if left := srv.keys(t, "*:open:*"); len(left) != 10 {
		t.Errorf("left: %q", left)
	}
	for _, day := range []report.Day{today() - 7, today() - 6} {
		if err := r.DeleteBefore(t.Context(), day); err != nil {
			t.Fatal(err)
		}
	}
	left := srv.keys(t, "*:open:*")
	slices.Sort(left)
	var want []string
	for day := today() - 7; day <= today(); day++ {
		want = append(want, r.keys.open(day, domain))
	}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q", left)
	}
	if left := srv.keys(t, "*:domains:*"); len(left) != len(want) {
		t.Errorf("left: %q", left)
	}
}

// A full server accepts no sums, but its sums can be reported, which frees
// memory.
func TestReportsFromFullServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--maxmemory-policy", "noeviction")
	r := open(t, at(srv.addr)).Reports()
	add(t, r, batch("w", 1, domain, sessions(noPolicy, 1)))
	srv.admin(t, "CONFIG", "SET", "maxmemory", "1")
	second := batch("w", 2, domain, sessions(noPolicy, 10))
	if err := r.Add(t.Context(), second); err == nil || errors.Is(err, reporter.ErrStoreFull) {
		t.Errorf("Add: %v, want an error after which it is tried again", err)
	}
	release, ok, err := r.Lease(t.Context(), today(), domain, time.Hour)
	if err != nil || !ok {
		t.Fatalf("Lease: %v, %v", ok, err)
	}
	number, err := r.Seal(t.Context(), today(), domain)
	if err != nil || number != 1 {
		t.Fatalf("Seal: part %d, %v", number, err)
	}
	if part := sums(t, r, domain); part.Number != 1 || total(part) != 1 {
		t.Errorf("sealed: %+v", part)
	}
	if err := r.Delete(t.Context(), today(), domain, number); err != nil {
		t.Fatal(err)
	}
	release()
	if err := r.DeleteBefore(t.Context(), today()-7); err != nil {
		t.Error(err)
	}
	srv.admin(t, "CONFIG", "SET", "maxmemory", "0")
	add(t, r, second)
	if part := sums(t, r, domain); total(part) != 10 || part.Number != 2 {
		t.Errorf("%+v", part)
	}
}
