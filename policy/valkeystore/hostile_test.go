package valkeystore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// A value from another writer is an error for its domain, and for no other
// domain.
func TestDamagedValueConcernsOneDomain(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	good, err := encode(entry("good.example", time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"empty.example":   "0",
		"garbage.example": "1732391231123 \x00\xff\xff\xff\xff\xff\xff",
		"other.example":   good,
		"cut.example":     good[:len(good)-1],
		"time.example":    "1" + good,
		"version.example": strings.Replace(good, " \x01", " \x02", 1),
		"large.example":   strings.Repeat("9", 10<<20),
		"text.example":    "1732391231123 \x1b[2Jversion: STSv1",
	}
	s := open(t, at(srv.addr))
	put(t, s, entry("good.example", time.Minute))
	for domain, value := range values {
		srv.admin(t, "SET", s.keys.policy(domain), value)
	}
	srv.admin(t, "HSET", s.keys.policy("hash.example"), "a", "b")
	values["hash.example"] = ""
	for _, strange := range []string{"", "\x1b[2J", "A.example", "a b", strings.Repeat("a", 1000)} {
		srv.admin(t, "SET", s.keys.policy(strange), good)
	}

	for domain := range values {
		_, err := s.Get(t.Context(), domain)
		if err == nil || errors.Is(err, mtasts.ErrNotStored) || !strings.Contains(err.Error(), domain) {
			t.Errorf("%s: %v", domain, err)
		} else if strings.ContainsAny(err.Error(), "\x1b\x00\n") || len(err.Error()) > 400 {
			t.Errorf("%s: error is not fit for a log: %q", domain, err)
		}
	}
	wantGood := 0
	for e, err := range s.All(t.Context()) {
		_, bad := values[e.Domain]
		switch {
		case bad && err != nil:
			delete(values, e.Domain)
		case err == nil && e.Domain == "good.example":
			wantGood++
		default:
			t.Errorf("All: %q, %v", e.Domain, err)
		}
	}
	if wantGood != 1 || len(values) != 0 {
		t.Errorf("All: %d good ones, and nothing of %q", wantGood, values)
	}
}

// A relay that has fetched the policy replaces the damaged value.
func TestDamagedIsReplaced(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	key := s.keys.policy(domain)
	soon := "9999999999999 x"
	for name, command := range map[string][]string{
		"garbage": {"SET", key, "garbage"}, "hash": {"HSET", key, "a", "b"}, "never": {"SET", key, soon},
	} {
		srv.admin(t, "DEL", key)
		srv.admin(t, command...)
		if _, err := s.Get(t.Context(), domain); err == nil {
			t.Errorf("%s: no error", name)
		}
		e := entry(domain, 0)
		put(t, s, e)
		wantEntry(t, open(t, at(srv.addr)), e)
		srv.admin(t, "DEL", key)
		srv.admin(t, command...)
		eventually(t, "the damage is noticed", func() bool {
			_, err := s.Get(t.Context(), domain)
			return err != nil
		})
		if err := s.Delete(t.Context(), domain); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if names := srv.keys(t, key); len(names) != 0 {
			t.Errorf("%s: exists after Delete", name)
		}
	}
}

// A large value is not read into memory.
func TestLargeValueIsNotRead(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	srv.admin(t, "SETRANGE", s.keys.policy(domain), "100000000", "x")
	if _, err := s.Get(t.Context(), domain); !errors.Is(err, errDamaged) {
		t.Fatal(err)
	}
	wantLittleSent(t, srv)
}

// wantLittleSent checks that the server has sent less than a megabyte to all clients.
func wantLittleSent(t *testing.T, srv *server) {
	t.Helper()
	stats, err := srv.admin(t, "INFO", "stats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(stats) {
		if sent, ok := strings.CutPrefix(line, "total_net_output_bytes:"); ok && len(strings.TrimSpace(sent)) > 6 {
			t.Errorf("the server has sent %s octets", strings.TrimSpace(sent))
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(entry(domain, time.Minute))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good))
	f.Add([]byte("1 "))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := decode(domain, value)
		if err != nil {
			if e.Domain != "" {
				t.Errorf("an entry and %v", err)
			}
			return
		}
		again, err := encode(e)
		if err != nil || e.Domain != domain {
			t.Fatalf("%+v: %v", e, err)
		}
		if back, err := decode(domain, []byte(again)); err != nil || !same(back, e) {
			t.Errorf("%q is read as %+v, and that as %+v, %v", value, e, back, err)
		}
	})
}
