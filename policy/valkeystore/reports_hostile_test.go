package valkeystore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// wantDamage checks that an error names what is damaged and is one printable
// line.
func wantDamage(t *testing.T, what string, err error, names string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), names) {
		t.Errorf("%s: %v, want an error that names %s", what, err, names)
	} else if strings.ContainsAny(err.Error(), "\x1b\x00\n") || len(err.Error()) > 400 {
		t.Errorf("%s: error is not fit for a log: %q", what, err)
	}
}

// Damaged sums of a domain are an error that names it, whether the part is open
// or sealed. They are never reported partially.
func TestDamagedSumsAreAnError(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	r := s.Reports()
	policy := policyForm(stsPolicy(1))
	detail := "d" + policy.id + detailForm(untrusted("a"))
	other := policyForm(stsPolicy(2))
	n := 0
	for name, tt := range map[string]struct {
		change []string // a command, without its key
		names  string
	}{
		"count is no number":     {[]string{"HSET", "s" + policy.id, "\x1b[2J"}, "s" + policy.id},
		"count is negative":      {[]string{"HSET", "f" + policy.id, "-1"}, "f" + policy.id},
		"count is too large":     {[]string{"HSET", "s" + policy.id, "9007199254740992"}, "s" + policy.id},
		"count is in other form": {[]string{"HSET", "s" + policy.id, "01"}, "s" + policy.id},
		"count is lost":          {[]string{"HDEL", "f" + policy.id}, "f" + policy.id},
		"no failure":             {[]string{"HSET", "f" + policy.id, "0"}, "f" + policy.id},
		"no session":             {[]string{"HSET", "s" + policy.id, "0", "f" + policy.id, "0"}, "s" + policy.id},
		"policy is lost":         {[]string{"HDEL", "p" + policy.id}, "p" + policy.id},
		"policy is another":      {[]string{"HSET", "p" + policy.id, other.text}, "p" + policy.id},
		"policy is large":        {[]string{"HSET", "p" + policy.id, strings.Repeat("x", 9<<20)}, "large"},
		"policy of nothing":      {[]string{"HSET", "p" + other.id, other.text}, "#policies"},
		"a policy more":          {[]string{"HSET", "p" + other.id, other.text, "#policies", "2"}, "s" + other.id},
		"detail is lost":         {[]string{"HDEL", detail}, "#details"},
		"detail is 0":            {[]string{"HSET", detail, "0"}, "d" + policy.id},
		"detail is none":         {[]string{"HSET", "d" + policy.id + "\x1b{}", "1"}, "d" + policy.id},
		"detail of no type":      {[]string{"HSET", "d" + policy.id + `{"result-type":"x","failed-session-count":0}`, "1"}, "d" + policy.id},
		"detail of no policy":    {[]string{"HSET", "d", "1"}, `"d"`},
		"detail has a number":    {[]string{"HSET", strings.Replace(detail, `count":0`, `count":1`, 1), "1"}, "d" + policy.id},
		"unknown field":          {[]string{"HSET", "x" + policy.id, "1"}, "x" + policy.id},
		"empty field":            {[]string{"HSET", "", ""}, `""`},
		"strange field":          {[]string{"HSET", "\x1b[2J\n", "1"}, `\x1b[2J`},
		"number of policies":     {[]string{"HSET", "#policies", "x"}, "#policies"},
		"number of details":      {[]string{"HDEL", "#details"}, "#details"},
		"no hash":                {[]string{"SET", "x"}, "string"},
	} {
		n++
		domain := fmt.Sprintf("d%d.example", n)
		add(t, r, batch(name, 1, domain, sessions(stsPolicy(1), 1, untrusted("a"))))
		key := r.keys.open(today(), domain)
		if n%2 == 0 { // damage the sealed part too
			if _, err := r.Seal(t.Context(), today(), domain); err != nil {
				t.Fatal(err)
			}
			key = r.keys.sealed(today(), domain)
		}
		srv.admin(t, append([]string{tt.change[0], key}, tt.change[1:]...)...)
		part, err := r.Sums(t.Context(), today(), domain)
		if part.Number != 0 || part.Sums != nil {
			t.Errorf("%s: sums %+v", name, part)
		}
		wantDamage(t, name, err, tt.names)
		_, err = r.Seal(t.Context(), today(), domain)
		wantDamage(t, name, err, tt.names)
		wantDamage(t, name, err, domain)
	}
	add(t, r, batch("w", 1, "good.example", sessions(noPolicy, 1)))
	seen := 0
	for _, err := range r.Domains(t.Context(), today()) {
		if err != nil {
			t.Error(err)
		}
		seen++
	}
	if seen != n+1 {
		t.Errorf("%d domains of %d", seen, n+1)
	}
}

// Nothing is added to damaged sums. Sums of other domains are added.
func TestAddToDamagedSums(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	id := policyForm(noPolicy).id
	for i, command := range [][]string{{"SET", "x"}, {"HSET", "s" + id, "x"}, {"HSET", "#policies", "-1"}, {"LPUSH", "x"}} {
		bad, good := fmt.Sprintf("bad%d.example", i), fmt.Sprintf("good%d.example", i)
		srv.admin(t, append([]string{command[0], r.keys.open(today(), bad)}, command[1:]...)...)
		b := batch("w", int64(3*i+1), good, sessions(noPolicy, 1))
		b.Sums = append(b.Sums, batch("w", 0, bad, sessions(noPolicy, 1)).Sums...)
		err := r.Add(t.Context(), b)
		if !errors.Is(err, reporter.ErrStoreFull) {
			t.Errorf("%q: %v", command, err)
		}
		wantDamage(t, command[0], err, bad)
		if part := sums(t, r, good); part.Number != 0 {
			t.Errorf("%q: half of the batch was added", command)
		}
		b.Number++
		b.Sums = b.Sums[:1]
		add(t, r, b)
		if got := total(sums(t, r, good)); got != 1 {
			t.Errorf("%q: %d sessions", command, got)
		}
	}
}

// A key of the wrong type is an error that names the key, and changes nothing.
func TestWrongKindOfKey(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	calls := map[string]func() error{
		"Add": func() error { return r.Add(t.Context(), batch("w", 2, domain, sessions(noPolicy, 1))) },
		"Domains": func() (err error) {
			for _, err = range r.Domains(t.Context(), today()) {
			}
			return err
		},
		"Sums":         func() error { _, err := r.Sums(t.Context(), today(), domain); return err },
		"Seal":         func() error { _, err := r.Seal(t.Context(), today(), domain); return err },
		"Delete":       func() error { return r.Delete(t.Context(), today(), domain, 1) },
		"DeleteBefore": func() error { return r.DeleteBefore(t.Context(), today()-7) },
	}
	for key, want := range map[string]string{
		r.keys.writer("w"):             "Add",
		r.keys.days:                    "Add DeleteBefore",
		r.keys.domains(today()):        "Add Domains Delete",
		r.keys.parts(today()):          "Sums Seal",
		r.keys.sealed(today(), domain): "Sums Seal Delete",
		r.keys.open(today(), domain):   "Add Sums Seal",
	} {
		srv.admin(t, "FLUSHALL")
		add(t, r, batch("w", 1, domain, sessions(noPolicy, 1)))
		srv.admin(t, "SET", key, "\x1b")
		for name := range strings.FieldsSeq(want) {
			wantDamage(t, name+" with "+key, calls[name](), "")
			if err := calls[name](); err != nil && name != "Add" {
				wantDamage(t, name+" with "+key, err, key)
			}
		}
		if key != r.keys.open(today(), domain) {
			fields, err := srv.admin(t, "HGET", r.keys.open(today(), domain), "s"+policyForm(noPolicy).id).ToString()
			if err != nil || fields != "1" {
				t.Errorf("%s: the open hash has %q sessions, %v", key, fields, err)
			}
		}
	}
	srv.admin(t, "FLUSHALL")
	srv.admin(t, "HSET", r.keys.writer("w"), "number", "x")
	wantDamage(t, "writer", calls["Add"](), r.keys.writer("w"))
	add(t, r, batch("v", 1, domain, sessions(noPolicy, 1)))
	srv.admin(t, "HSET", r.keys.parts(today()), domain, "1e99")
	wantDamage(t, "parts", calls["Seal"](), r.keys.parts(today()))
	wantDamage(t, "parts", calls["Sums"](), domain)
}

// An invalid domain name is an error, after all valid names.
func TestDamagedDomains(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	add(t, r, batch("w", 1, "a.example", sessions(noPolicy, 1)))
	add(t, r, batch("w", 2, "b.example", sessions(noPolicy, 1)))
	for _, strange := range []string{"", "\x1b[2J", "A.example", strings.Repeat("a", 10<<20)} {
		srv.admin(t, "SADD", r.keys.domains(today()), strange)
		seen, failed := 0, 0
		for name, err := range r.Domains(t.Context(), today()) {
			if err != nil {
				wantDamage(t, "domains", err, today().String())
				failed++
			} else if name == "a.example" || name == "b.example" {
				seen++
			} else {
				t.Errorf("domain %.100q", name)
			}
		}
		if seen != 2 || failed != 1 {
			t.Errorf("%.10q: %d domains, %d errors", strange, seen, failed)
		}
		srv.admin(t, "SREM", r.keys.domains(today()), strange)
	}
}

// DeleteBefore deletes days with damaged indexes and impossible days, in a
// bounded number of steps.
func TestDeleteBeforeDamaged(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	for day := today() - 10; day <= today()-6; day++ {
		b := batch("w", int64(day), domain, sessions(noPolicy, 1))
		b.Sums[0].Day = day
		add(t, r, b)
	}
	srv.admin(t, "SET", r.keys.domains(today()-10), "x")
	srv.admin(t, "SADD", r.keys.domains(today()-9), "\x1b", strings.Repeat("a", 1000))
	for i, score := range []string{"-inf", "-1e300", "-1", "1.5", "1.5", "1e15", "+inf"} {
		srv.admin(t, "ZADD", r.keys.days, score, fmt.Sprint("strange", i))
	}
	for range 2 { // the first call could be a mistake
		if err := r.DeleteBefore(t.Context(), today()-7); err != nil {
			t.Fatal(err)
		}
	}
	if left := srv.keys(t, "*:domains:*"); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
	if left := srv.keys(t, "*:open:*"); len(left) != 3 { // the others expire
		t.Errorf("left: %q", left)
	}
}

// Large sums are not read into memory.
func TestLargeSumsAreNotRead(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	srv.admin(t, "HSET", r.keys.open(today(), domain), "p", strings.Repeat("x", 50<<20))
	srv.admin(t, "EVAL", "for i = 1, 100000 do redis.call('HSET', KEYS[1], i, i) end", "1", r.keys.sealed(today(), "many.example"))
	srv.admin(t, "SADD", r.keys.domains(today()), strings.Repeat("x", 50<<20))
	for _, name := range []string{domain, "many.example"} {
		_, err := r.Seal(t.Context(), today(), name)
		wantDamage(t, name, err, "too large")
	}
	for range r.Domains(t.Context(), today()) {
	}
	wantLittleSent(t, srv)
}

func FuzzDecodeSums(f *testing.F) {
	p := policyForm(stsPolicy(1))
	f.Add("s"+p.id, "1", "f"+p.id, "1", "p"+p.id, p.text, "d"+p.id+detailForm(untrusted("a")), "1")
	f.Add("s"+p.id, "1", "f"+p.id, "0", "p"+p.id, p.text, "#octets", "1")
	f.Add("", "", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i string) {
		for details := range 2 {
			fields := []string{"#policies", "1", "#details", fmt.Sprint(details), a, b, c, d, e, g, h, i}
			part, err := decodePart(domain, "1", fields)
			if err == nil && (part.Number != 1 || len(part.Sums) == 0 || total(part) == 0) {
				t.Errorf("%q is read as nothing: %+v", fields, part)
			}
			if err != nil && part.Number != 0 {
				t.Errorf("sums and %v", err)
			}
		}
	})
}

// R7: a clock that is ahead for one reading deletes nothing, also if the server's is ahead
// too.
func TestR7NothingDeletedAtOnce(t *testing.T) {
	t.Parallel()
	r := open(t, at(startServer(t).addr)).Reports()
	b := batch("w", 1, domain, sessions(noPolicy, 1))
	b.Sums[0].Day = today() - 9
	add(t, r, b)
	for i, day := range []report.Day{today() - 7, today() - 10, today() - 9, today() - 7, today() - 7} {
		if err := r.DeleteBefore(t.Context(), day); err != nil {
			t.Fatal(err)
		}
		part, err := r.Sums(t.Context(), today()-9, domain)
		if err != nil || (part.Number == 1) != (i < 4) {
			t.Errorf("after call %d: %+v, %v", i, part, err)
		}
	}
}
