package mtasts_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// M2: a writer to a shared store cannot weaken, redirect, shorten or prolong what a
// relay has in memory.
func TestM2PlantedEntry(t *testing.T) {
	other := strings.Replace(enforceWeek, "mail.example.com", "mail.evil.example", 1)
	for name, plant := range map[string]struct {
		text    string
		fetched time.Duration // from now
	}{
		"none":                       {noneWeek, 0},
		"testing":                    {testingDay, 0},
		"testing, as long":           {strings.Replace(enforceWeek, "enforce", "testing", 1), time.Second},
		"other hosts":                {other, 0},
		"another host":               {enforceWeek + "mx: mail.evil.example\n", 0},
		"no more hosts":              {strings.Replace(enforceWeek, "mail", "*", 1), 0},
		"expires earlier":            {strings.Replace(enforceWeek, "604800", "60", 1), 0},
		"from the future":            {enforceWeek, year},
		"none from the future":       {noneWeek, 100 * year},
		"from the end of time":       {noneWeek, 1<<63 - 1},
		"a little from the future":   {noneWeek, 30 * time.Second},
		"stronger, with other hosts": {other, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				store := watched{newMemStore()}
				c := w.client(t, withStore(store))
				defer run(t, c)()
				synctest.Wait()
				first := lookup(t, c)
				for i := range 20 {
					time.Sleep(time.Minute)
					text := plant.text
					store.Put(t.Context(), mtasts.Entry{
						Domain: domain, ID: "2", Text: text, Fetched: time.Now().Add(plant.fetched), Expires: time.Now().Add(year),
						NextCheck: time.Now().Add(day), Used: true,
					})
					store.changed <- []string{domain, ""}[i%2]
					store.changed <- "unknown.example" // taken after the change was dealt with
					r := lookup(t, c)
					if r.Policy == nil || r.Policy.Text != enforceWeek || r.Expires.After(first.Expires) {
						t.Fatalf("%+v", r)
					}
				}
				if _, dials := w.counts(); dials != 1 {
					t.Errorf("%d fetches", dials)
				}
				// Otherwise relays that disagree would write in turns without end.
				if store.puts != 1+20 {
					t.Errorf("%d writes", store.puts)
				}
			})
		})
	}
}

// M2: a policy that is no weaker is taken over without a fetch.
func TestM2RefreshedByAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		text := "version: STSv1\nmode: testing\nmx: A.example.com\nmx: *.example.net\nmax_age: 604800\n"
		w.publish("1", text)
		store := watched{newMemStore()}
		c := w.client(t, withStore(store))
		defer run(t, c)()
		synctest.Wait()
		lookup(t, c)
		stronger := "version: STSv1\nmx: *.EXAMPLE.net\nmx: a.example.com\nmode: enforce\nmax_age: 1209600\n"
		time.Sleep(time.Minute)
		store.Put(t.Context(), mtasts.Entry{Domain: domain, ID: "2", Text: stronger, Fetched: time.Now(), Expires: time.Now().Add(2 * week), NextCheck: time.Now().Add(time.Hour), Used: true})
		store.changed <- domain
		store.changed <- "unknown.example"
		if r := lookup(t, c); r.Policy == nil || r.Policy.Text != stronger {
			t.Errorf("%+v", r)
		}
		if _, dials := w.counts(); dials != 1 {
			t.Errorf("%d fetches", dials)
		}
	})
}

// M2: with a key, entries that no relay has put are not used at all.
func TestM2StoreKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		withKey := func(key string) func(*mtasts.Config) {
			return func(config *mtasts.Config) { config.StoreKey = []byte(key) }
		}
		const key = "0123456789abcdef"
		lookup(t, w.client(t, withStore(store), withKey(key)))
		good, err := store.Get(t.Context(), domain)
		if err != nil || good.Tag == "" {
			t.Fatalf("%+v, %v", good, err)
		}
		w.setTXT(txtAnswer{err: notFound("x")})
		for name, change := range map[string]func(*mtasts.Entry){
			"as it was put": func(*mtasts.Entry) {},
			"no tag":        func(e *mtasts.Entry) { e.Tag = "" },
			"another tag":   func(e *mtasts.Entry) { e.Tag = strings.Repeat("x", 32) },
			"text":          func(e *mtasts.Entry) { e.Text = noneWeek },
			"time":          func(e *mtasts.Entry) { e.Fetched = e.Fetched.Add(time.Hour) },
			"notice":        func(e *mtasts.Entry) { e.Noticed = e.Fetched },
			"failures":      func(e *mtasts.Entry) { e.Failed = 1 },
			"use":           func(e *mtasts.Entry) { e.Used = !e.Used },
		} {
			e := good
			change(&e)
			store.Put(t.Context(), e)
			c := w.client(t, withStore(store), withKey(key))
			if p := remembered(t, c, domain); (p != nil) != (name == "as it was put") {
				t.Errorf("%s: %v", name, p)
			}
			if name != "as it was put" {
				wantUnread(t, c)
			}
		}
		store.Put(t.Context(), good)
		if p := remembered(t, w.client(t, withStore(store), withKey("another key of 24 octets")), domain); p != nil {
			t.Error("an entry of relays with another key is used")
		}
		if p := remembered(t, w.client(t, withStore(store)), domain); p == nil {
			t.Error("without a key, the store is trusted")
		}
		if _, err := mtasts.New(mtasts.Config{StoreKey: []byte("short")}); err == nil {
			t.Error("a short key is accepted")
		}
	})
}
