package mtasts_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// C6: each fetch is counted once, by its outcome and duration, and so are the calls of the
// store, the events, and the policies in memory.
func TestC6StatsCountEachFetchOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		c := w.client(t, withStore(store), func(config *mtasts.Config) { config.FetchTimeout = 3 * time.Second })
		foreign := issue(t, w.ca, &x509.Certificate{DNSNames: []string{"other.example"}})
		text := respond(200, "text/plain", enforce)
		for i, step := range []struct {
			field string
			set   func()
		}{
			{"Changed", func() {}},
			{"Unchanged", func() {}},
			{"DNS", func() { w.setAddrs() }},
			{"Connect", func() { w.setAddrs("127.0.0.1") }},
			{"Connect", func() { w.setAddrs("11.0.0.1"); w.setHost(nil) }},
			{"TLS", func() { w.setSite(foreign, text) }},
			{"TLS", func() { w.setHost(func(conn net.Conn) { conn.Close() }) }},
			{"HTTP", func() { w.setSite(w.good(), respond(404, "text/plain", "")) }},
			{"HTTP", func() { w.setSite(w.good(), func(conn *tls.Conn, _ *http.Request) { conn.Close() }) }},
			{"Invalid", func() { w.setSite(w.good(), respond(200, "text/plain", "mode: enforce\n")) }},
			{"Timeout", func() { w.setHost(func(conn net.Conn) { time.Sleep(time.Minute) }) }},
			{"Changed", func() { w.setSite(w.good(), respond(200, "text/plain", enforceWeek)) }},
		} {
			step.set()
			w.setID(string(rune('a' + i)))
			before := reflect.ValueOf(c.Stats().Fetches)
			if _, _, err := c.Recheck(t.Context(), domain); err != nil {
				t.Fatal(err)
			}
			after := reflect.ValueOf(c.Stats().Fetches)
			for f := range before.NumField() {
				name := before.Type().Field(f).Name
				want := uint64(0)
				if name == step.field {
					want = 1
				}
				if got := after.Field(f).FieldByName("Count").Uint() - before.Field(f).FieldByName("Count").Uint(); got != want {
					t.Errorf("step %d: %d more fetches are %s, want %d", i, got, name, want)
				}
			}
			time.Sleep(6 * time.Minute)
		}
		s := c.Stats()
		if took := s.Fetches.Timeout; took.Total != 3*time.Second || took.Buckets[11] != 1 || mtasts.LatencyBounds()[11] != 5*time.Second {
			t.Errorf("a fetch of three seconds: %+v", took)
		}
		if s.Domains != 1 || s.Octets < len(enforceWeek) || s.Policies[mtasts.Enforce] != 1 || len(s.Policies) != 3 || !s.FailingSince.IsZero() {
			t.Errorf("memory: %+v", s)
		}
		if len(s.Events) != 9 || s.Events[mtasts.PolicyFound] != 1 || s.Events[mtasts.PolicyChanged] != 1 {
			t.Errorf("events: %v", s.Events)
		}
		if s.Store.Get.Count == 0 || s.Store.Get.Failed != 0 || s.Store.Put.Count == 0 || s.Store.Lease.Count != 0 {
			t.Errorf("store: %+v", s.Store)
		}
		store.setErr(errDisk, errDisk)
		w.setHost(nil)
		w.setID("x")
		start := time.Now()
		c.Lookup(t.Context(), "other.example")
		c.Recheck(t.Context(), domain)
		if s := c.Stats(); s.Store.Get.Failed == 0 || s.Store.Put.Failed == 0 || s.Domains != 2 || !s.FailingSince.Equal(start) {
			t.Errorf("%+v", s)
		}
	})
}

// C6: Policies yields each policy in force in memory, with its state.
func TestC6PoliciesYieldsEachInForce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		store.Put(t.Context(), mtasts.Entry{Domain: "stored.example", ID: "s", Text: noneWeek, Fetched: time.Now().Add(-time.Hour), NextCheck: time.Now().Add(time.Hour), Used: true})
		c := w.client(t, withStore(store))
		lookup(t, c)
		start := time.Now()
		for _, d := range []string{"stored.example", "without.example"} {
			if _, err := c.Lookup(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		w.setHost(nil)
		w.setID("2")
		if _, _, err := c.Recheck(t.Context(), domain); err != nil {
			t.Fatal(err)
		}
		known := map[string]mtasts.Known{}
		for k := range c.Policies() {
			known[k.Domain] = k
		}
		if len(known) != 2 {
			t.Fatalf("%+v", known)
		}
		own, stored := known[domain], known["stored.example"]
		if !own.Own || !own.Used || own.State != mtasts.Failing || own.Policy.Mode != mtasts.Enforce || own.ID != "1" || !own.Fetched.Equal(start) ||
			!own.Expires.Equal(start.Add(day)) || !own.FailingSince.Equal(start) || own.Failed != 1 || own.Err == nil {
			t.Errorf("%+v", own)
		}
		if stored.Own || stored.State != mtasts.InForce || stored.Policy.Mode != mtasts.None || stored.ID != "s" || !stored.FailingSince.IsZero() {
			t.Errorf("%+v", stored)
		}
		for range c.Policies() {
			break
		}
		time.Sleep(2 * day)
		for k := range c.Policies() {
			if k.Domain == domain {
				t.Error("an expired policy is in force")
			}
		}
	})
}
