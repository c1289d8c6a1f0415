package dnssec

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsvectors"
)

var write = flag.Bool("write", false, "write the test vectors in testdata")

const vectorFile = "testdata/vectors.json"

// The vectors for other validators have the results of this one. unbound
// comes to the same: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	if *write {
		f := newVectors(t)
		for i, got := range answers(t, f) {
			c := &f.Cases[i]
			if got.Status != c.Status {
				t.Errorf("%s, %s %s: %s (%s), want %s", c.What, c.Name, c.Type, got.Status, got.Reason, c.Status)
			}
			*c = got
		}
		if !t.Failed() {
			f.Write(t, vectorFile)
		}
	}
	f := dnsvectors.Read(t, vectorFile)
	statuses := make(map[string]int)
	for i, got := range answers(t, f) {
		want := &f.Cases[i]
		statuses[got.Status]++
		if got.Status != want.Status || got.NXDomain != want.NXDomain || got.Reason != want.Reason || !slices.Equal(got.Records, want.Records) {
			t.Errorf("%s, %s %s: %s, NXDOMAIN %v, %s, %q; want %s, %v, %s, %q", want.What, want.Name, want.Type,
				got.Status, got.NXDomain, got.Reason, got.Records, want.Status, want.NXDomain, want.Reason, want.Records)
		}
	}
	if len(f.Cases) < 500 || statuses["secure"] < 100 || statuses["insecure"] < 50 || statuses["bogus"] < 200 || len(statuses) != 4 {
		t.Errorf("%d cases: %v", len(f.Cases), statuses)
	}
}

// answers returns the cases with the results of a validator.
func answers(t *testing.T, f *dnsvectors.File) (all []dnsvectors.Case) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
		server := new(dnsvectors.Server)
		for i := range f.Cases {
			all = append(all, answered(t, server, f, &f.Cases[i]))
		}
	})
	return all
}

// answered returns a case with the result of a validator that asks the server.
func answered(t *testing.T, server *dnsvectors.Server, f *dnsvectors.File, c *dnsvectors.Case) dnsvectors.Case {
	t.Helper()
	server.Use(t, f, c)
	v, err := New(Config{
		Servers: []string{"192.0.2.53"}, Dial: server.Dial,
		Anchors: strings.Join(c.Anchors, "\n"), Now: func() time.Time { return c.Time },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	got := *c
	got.Status, got.NXDomain, got.Records, got.Reason = "", false, nil, ""
	a, err := v.Lookup(context.Background(), c.Name, Type(dns.StringToType[c.Type]))
	e := new(Error)
	switch {
	case errors.As(err, &e):
		got.Status, got.Reason = vectorStatus(e.Status), e.Reason.String()
	case err != nil:
		t.Fatal(err)
	default:
		got.Status, got.NXDomain = a.Status.String(), a.NXDomain
		for _, r := range a.Records {
			got.Records = append(got.Records, r.Content())
		}
		slices.Sort(got.Records)
	}
	return got
}
