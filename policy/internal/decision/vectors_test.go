package decision

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
)

var write = flag.Bool("write", false, "write the test vectors in testdata")

// vector is a decision as docs/vectors.md explains it.
type vector struct {
	MX        string   `json:"mx"`
	TLSA      string   `json:"tlsa"`
	MTASTS    string   `json:"mta_sts"`
	Listed    bool     `json:"listed"`
	Wishes    []string `json:"wishes"`
	Floor     string   `json:"floor,omitempty"`
	Level     string   `json:"level"`
	Requires  []string `json:"requires"`
	Observe   bool     `json:"observe"`
	DecidedBy []string `json:"decided_by"`
	Refusal   string   `json:"refusal,omitempty"`
}

var (
	statusNames    = map[dnssec.Status]string{dnssec.Indeterminate: "failed", dnssec.Bogus: "bogus", dnssec.Insecure: "insecure", dnssec.Secure: "secure"}
	tlsaNames      = map[TLSA]string{TLSAFailed: "failed", TLSANone: "none", TLSAUnusable: "unusable", TLSAUsable: "usable"}
	mtastsNames    = map[MTASTS]string{MTASTSUnknown: "unknown", MTASTSNone: "none", MTASTSTesting: "testing", MTASTSEnforce: "enforce"}
	levelNames     = map[Level]string{Refused: "refused", Opportunistic: "opportunistic", Encrypted: "encrypted", Authenticated: "authenticated"}
	mechanismNames = []struct {
		by   Mechanism
		name string
	}{{ByDANE, "dane"}, {ByMTASTS, "mta-sts"}, {ByOperator, "operator"}}
	refusalNames = map[Refusal]string{
		MXLookupFailed: "mx-lookup-failed", TLSALookupFailed: "tlsa-lookup-failed", PolicyNotAsked: "policy-unknown",
		NotInAllowList: "not-listed", DANEMissing: "dane-missing", RouteUnauthenticated: "route-unauthenticated",
	}
	wishNames = []struct {
		name string
		set  func(*Wishes)
	}{
		{"require-dane", func(w *Wishes) { w.RequireDANE = true }},
		{"require-both", func(w *Wishes) { w.RequireBoth = true }},
		{"require-route", func(w *Wishes) { w.RequireRoute = true }},
		{"require-tls", func(w *Wishes) { w.RequireTLS = true }},
		{"tls-optional", func(w *Wishes) { w.TLSOptional = true }},
		{"pinned", func(w *Wishes) { w.Pinned = true }},
		{"host-pinned", func(w *Wishes) { w.HostPinned = true }},
	}
)

// everyVector yields every combination of facts, without wishes, with each floor, and with
// one or two wishes.
func everyVector(yield func(vector) bool) {
	for f := range everyFact {
		var cases []struct {
			w     Wishes
			names []string
		}
		add := func(w Wishes, names ...string) {
			cases = append(cases, struct {
				w     Wishes
				names []string
			}{w, append([]string{}, names...)})
		}
		for _, floor := range []Level{Refused, Encrypted, Authenticated} {
			add(Wishes{Floor: floor})
		}
		for i, one := range wishNames {
			var w Wishes
			one.set(&w)
			add(w, one.name)
			for _, two := range wishNames[i+1:] {
				both := w
				two.set(&both)
				add(both, one.name, two.name)
			}
		}
		for _, c := range cases {
			if !yield(newVector(f, c.w, c.names)) {
				return
			}
		}
	}
}

func newVector(f Facts, w Wishes, wishes []string) vector {
	d := Decide(f, w)
	v := vector{
		MX: statusNames[f.MX], TLSA: tlsaNames[f.TLSA], MTASTS: mtastsNames[f.MTASTS], Listed: f.Listed, Wishes: wishes,
		Level: levelNames[d.Level], Requires: []string{}, Observe: d.Demands.Observe, DecidedBy: []string{}, Refusal: refusalNames[d.Refusal],
	}
	if w.Floor != Refused {
		v.Floor = levelNames[w.Floor]
	}
	for _, need := range []struct {
		is   bool
		name string
	}{{d.Demands.DANE, "dane"}, {d.Demands.WebPKI, "web-pki"}, {d.Demands.NextHop, "next-hop"}} {
		if need.is {
			v.Requires = append(v.Requires, need.name)
		}
	}
	for _, m := range mechanismNames {
		if d.By&m.by != 0 {
			v.DecidedBy = append(v.DecidedBy, m.name)
		}
	}
	return v
}

// The vectors that others test their senders with are the decisions of this one. Another
// reader, in Python, decides by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	const file = "testdata/decisions.json"
	var lines [][]byte
	for v := range everyVector {
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	want := append(append([]byte("[\n"), bytes.Join(lines, []byte(",\n"))...), "\n]\n"...)
	if *write {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from the %d decisions; go test -run TestVectors -write . writes them, if they are right", file, len(lines))
	}
	var read []vector
	if err := json.Unmarshal(got, &read); err != nil || len(read) != len(lines) {
		t.Errorf("%d vectors, %v", len(read), err)
	}
}
