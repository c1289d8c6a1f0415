package proof

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// signedZone is a zone with one key.
type signedZone struct {
	t    *testing.T
	key  *testKey
	keys *KeySet
	now  time.Time
}

func newSignedZone(t *testing.T, apex string) *signedZone {
	t.Helper()
	k := newKey(t, apex, dns.ECDSAP256SHA256)
	key, ok := NewKey(k.record, false)
	if !ok {
		t.Fatal("the key is not usable")
	}
	return &signedZone{t, k, &KeySet{apex, []Key{key}}, time.Unix(1800000000, 0)}
}

// set returns a signed RRset.
func (z *signedZone) set(texts ...string) *RRset {
	z.t.Helper()
	var records []dns.RR
	for _, text := range texts {
		records = append(records, dnsdata.RR(z.t, text))
	}
	return newRRset(z.key.sign(z.t, z.now, records...), records...)
}

// expanded returns the RRset that a wildcard makes for a name.
func (z *signedZone) expanded(name, text string) *RRset {
	z.t.Helper()
	set := z.set(text)
	set.Name = name
	for _, rr := range set.Records {
		rr.Header().Name = name
	}
	return set
}

// spoiled returns an RRset with a signature that does not verify.
func (z *signedZone) spoiled(text string) *RRset {
	set := z.set(text)
	set.Records[0].Header().Name = "spoiled." + set.Name
	set.Name = "spoiled." + set.Name
	return set
}

// nsec3 returns an NSEC3 record at the hash of name, whose next hash is by further on.
func (z *signedZone) nsec3(name string, by int, salt string, iterations int, types string) string {
	hash := dns.HashName(name, dns.SHA1, uint16(iterations), strings.TrimPrefix(salt, "-"))
	return fmt.Sprintf("%s.%s 60 IN NSEC3 1 0 %d %s %s %s", strings.ToLower(hash), z.keys.Apex, iterations, salt, shifted(z.t, hash, by), types)
}

// over3 returns an NSEC3 record that covers name and hardly anything else.
func (z *signedZone) over3(name, salt string, iterations, flags int) string {
	hash := dns.HashName(name, dns.SHA1, uint16(iterations), strings.TrimPrefix(salt, "-"))
	return fmt.Sprintf("%s.%s 60 IN NSEC3 1 %d %d %s %s A", strings.ToLower(shifted(z.t, hash, -1)), z.keys.Apex, flags, iterations, salt, shifted(z.t, hash, 1))
}

// shifted adds a number to a hash in base32hex.
func shifted(t *testing.T, hash string, by int) string {
	t.Helper()
	n, ok := new(big.Int).SetString(strings.ToLower(hash), 32)
	if !ok {
		t.Fatalf("%q is no hash", hash)
	}
	n.Add(n, big.NewInt(int64(by)))
	text := n.Text(32)
	return strings.ToUpper(strings.Repeat("0", len(hash)-len(text)) + text)
}

// deny says what signed records prove about a question.
func (z *signedZone) deny(b *Budget, name string, rtype uint16, texts ...string) (*Absence, error) {
	z.t.Helper()
	d := NewDenials(z.keys, z.now, b)
	for _, text := range texts {
		if err := d.Add(z.set(text)); err != nil {
			z.t.Fatal(err)
		}
	}
	return d.Deny(name, rtype, dns.RcodeSuccess)
}

func expectFault(t *testing.T, what string, err error, want Fault, words ...string) {
	t.Helper()
	e := new(Error)
	if !errors.As(err, &e) || e.Fault != want {
		t.Errorf("%s: %v, want fault %d", what, err, want)
		return
	}
	for _, word := range words {
		if !strings.Contains(e.Detail, word) {
			t.Errorf("%s: %q does not say %q", what, e.Detail, word)
		}
	}
}

func expectLimit(t *testing.T, what string, err error) {
	t.Helper()
	if limit := new(LimitError); !errors.As(err, &limit) || !strings.Contains(err.Error(), what) {
		t.Errorf("%v, want the limit of %s", err, what)
	}
}

// P2, SEC-52: an expansion of a wildcard counts only with a record that covers the name, and
// that proves that nothing is closer. What only has the right ancestor does not cover it.
func TestP2ExpansionNeedsACoveringRecord(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	const name = "m.wild.example.com."
	made := z.expanded(name, "*.wild.example.com. 60 IN A 192.0.2.1")
	for text, ok := range map[string]bool{
		"a.wild.example.com. 60 IN NSEC z.wild.example.com. A":                  true,
		"*.wild.example.com. 60 IN NSEC z.example.com. A":                       true,
		"n.wild.example.com. 60 IN NSEC z.wild.example.com. A":                  false, // after it
		"a.wild.example.com. 60 IN NSEC b.wild.example.com. A":                  false, // before it
		"a.wild.example.com. 60 IN NSEC m.wild.example.com. A":                  false, // the name is next
		"m.wild.example.com. 60 IN NSEC z.wild.example.com. TXT":                false, // the name exists
		"a.wild.example.com. 60 IN NSEC x.m.wild.example.com. A":                false, // an empty non-terminal
		"a.example.com. 60 IN NSEC z.example.com. A":                            false, // there would be no wildcard
		"a.wild.example.com. 60 IN NSEC z.wild.example.com. NS":                 true,  // another name is delegated
		"wild.example.com. 60 IN NSEC z.wild.example.com. NS":                   false, // this one is
		"wild.example.com. 60 IN NSEC z.wild.example.com. DNAME":                false,
		"wild.example.com. 60 IN NSEC z.wild.example.com. A":                    true,
		z.over3(name, "-", 0, 0):                                                true,
		z.over3("wild.example.com.", "-", 0, 0):                                 false,
		z.over3("x."+name, "-", 0, 0):                                           false,
		z.nsec3(name, 5, "-", 0, "A"):                                           false,
		z.nsec3("wild.example.com.", 1, "-", 0, "A"):                            false,
		"a.wild.example.com. 60 IN NSEC z.wild.example.org. A":                  false, // leads out of the zone
		"example.com. 60 IN NSEC example.com. NS SOA":                           false,
		"a.wild.example.com. 60 IN NSEC example.com. A":                         true, // the last one
		"m.wilde.example.com. 60 IN NSEC example.com. A":                        false,
		"a.a.wild.example.com. 60 IN NSEC z.wild.example.com. A":                true,
		"a.wild.example.com. 60 IN NSEC b.m.wild.example.com. A TXT RRSIG NSEC": false,
	} {
		_, insecure, err := VerifyAnswer(made, []*RRset{z.set(text)}, z.keys, z.now, newBudget())
		if insecure || (err == nil) != ok {
			t.Errorf("%s: insecure %v, %v, want success %v", text, insecure, err, ok)
		}
		if err != nil {
			expectFault(t, text, err, DenialMissing)
		}
	}
	_, _, err := VerifyAnswer(made, nil, z.keys, z.now, newBudget())
	expectFault(t, "no record", err, DenialMissing)
	// Two halves of a proof do not make a whole one.
	_, _, err = VerifyAnswer(made, []*RRset{z.set("a.wild.example.com. 60 IN NSEC b.wild.example.com. A"), z.set("a.example.com. 60 IN NSEC z.example.com. A")}, z.keys, z.now, newBudget())
	expectFault(t, "two halves", err, DenialMissing)
	// The record has to be signed, and a failed one says why.
	_, _, err = VerifyAnswer(made, []*RRset{z.spoiled("a.wild.example.com. 60 IN NSEC z.wild.example.com. A")}, z.keys, z.now, newBudget())
	expectFault(t, "a spoiled record", err, SignatureInvalid)
	// One that fails does not spoil another.
	for _, good := range []string{"a.wild.example.com. 60 IN NSEC z.wild.example.com. A", z.over3(name, "-", 0, 0)} {
		sets := []*RRset{z.spoiled("b.wild.example.com. 60 IN NSEC z.wild.example.com. A"), z.set(good), z.spoiled("c.wild.example.com. 60 IN NSEC z.wild.example.com. A")}
		if _, insecure, err := VerifyAnswer(made, sets, z.keys, z.now, newBudget()); insecure || err != nil {
			t.Errorf("beside records that fail: %v, %v", insecure, err)
		}
	}
	// With the span of an opt-out, the expansion is insecure.
	if _, insecure, err := VerifyAnswer(made, []*RRset{z.set(z.over3(name, "-", 0, 1))}, z.keys, z.now, newBudget()); !insecure || err != nil {
		t.Errorf("opt-out: %v, %v", insecure, err)
	}
}

// P2, SEC-44: types that mean their own name only are not expanded.
func TestP2WhatIsNotExpanded(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	covering := z.set("a.wild.example.com. 60 IN NSEC z.wild.example.com. A")
	for data, ok := range map[string]bool{
		"A 192.0.2.1": true, "SSHFP 1 1 00": true, "TLSA 3 1 1 00": true, "CNAME example.com.": true,
		"DS 1 13 2 00": false, "DNAME example.com.": false,
	} {
		set := z.expanded("m.wild.example.com.", "*.wild.example.com. 60 IN "+data)
		_, _, err := VerifyAnswer(set, []*RRset{covering}, z.keys, z.now, newBudget())
		if (err == nil) != ok {
			t.Errorf("%s: %v", data, err)
		}
		if err != nil {
			expectFault(t, data, err, SignatureInvalid, "expanded")
		}
		_, err = Verify(set, z.keys, z.now, newBudget())
		expectFault(t, data, err, SignatureInvalid, "expanded")
	}
}

// P3, SEC-57, RFC 5155 section 8.2: records that differ in a parameter are not one chain.
func TestP3NSEC3Parameters(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	const name = "x.mx.example.com."
	encloser := func(salt string, iterations int) string { return z.nsec3("mx.example.com.", 1, salt, iterations, "A") }
	next := func(salt string, iterations int) string { return z.over3(name, salt, iterations, 0) }
	wildcard := func(salt string, iterations int) string {
		return z.over3("*.mx.example.com.", salt, iterations, 0)
	}
	for what, tt := range map[string]struct {
		records []string
		ok      bool
	}{
		"one chain":                      {[]string{encloser("AB", 1), next("AB", 1), wildcard("AB", 1)}, true},
		"another salt at the encloser":   {[]string{encloser("AC", 1), next("AB", 1), wildcard("AB", 1)}, false},
		"another salt at the next":       {[]string{encloser("AB", 1), next("AC", 1), wildcard("AB", 1)}, false},
		"another salt at the wildcard":   {[]string{encloser("AB", 1), next("AB", 1), wildcard("AC", 1)}, false},
		"no salt at the wildcard":        {[]string{encloser("AB", 1), next("AB", 1), wildcard("-", 1)}, false},
		"more iterations at the next":    {[]string{encloser("AB", 1), next("AB", 2), wildcard("AB", 1)}, false},
		"more iterations at the last":    {[]string{encloser("AB", 1), next("AB", 1), wildcard("AB", 2)}, false},
		"fewer iterations at the last":   {[]string{encloser("AB", 1), next("AB", 1), wildcard("AB", 0)}, false},
		"a second chain beside a whole":  {[]string{encloser("AB", 1), encloser("AC", 2), next("AB", 1), wildcard("AB", 1)}, true},
		"a second chain before a whole":  {[]string{encloser("AC", 2), encloser("AB", 1), next("AB", 1), wildcard("AB", 1)}, false},
		"wildcard missing":               {[]string{encloser("AB", 1), next("AB", 1)}, false},
		"next closer name missing":       {[]string{encloser("AB", 1), wildcard("AB", 1)}, false},
		"encloser missing":               {[]string{next("AB", 1), wildcard("AB", 1)}, false},
		"the name in the second chain":   {[]string{encloser("AB", 1), z.nsec3(name, 1, "AC", 1, "TXT")}, false},
		"the name in the chain":          {[]string{encloser("AB", 1), z.nsec3(name, 1, "AB", 1, "TXT")}, true},
		"a wildcard without the type":    {[]string{encloser("AB", 1), next("AB", 1), z.nsec3("*.mx.example.com.", 1, "AB", 1, "TXT")}, true},
		"a wildcard of the second chain": {[]string{encloser("AB", 1), next("AB", 1), z.nsec3("*.mx.example.com.", 1, "AC", 1, "TXT")}, false},
	} {
		a, err := z.deny(newBudget(), name, dns.TypeA, tt.records...)
		if (err == nil) != tt.ok || a != nil && a.Insecure {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
		if a != nil && a.Wildcard != (what == "a wildcard without the type") {
			t.Errorf("%s: through a wildcard is %v", what, a.Wildcard)
		}
	}
	// Records that altered a parameter after they were hashed do not count either.
	forged := func(edit func(*dns.NSEC3)) *RRset {
		n := dnsdata.RR(t, wildcard("AB", 1)).(*dns.NSEC3)
		edit(n)
		return newRRset(z.key.sign(t, z.now, n), n)
	}
	for what, edit := range map[string]func(*dns.NSEC3){
		"":           func(*dns.NSEC3) {},
		"salt":       func(n *dns.NSEC3) { n.Salt = "AC" },
		"no salt":    func(n *dns.NSEC3) { n.Salt, n.SaltLength = "", 0 },
		"iterations": func(n *dns.NSEC3) { n.Iterations++ },
		"algorithm":  func(n *dns.NSEC3) { n.Hash = 2 },
		"flags":      func(n *dns.NSEC3) { n.Flags = 3 },
		"flag":       func(n *dns.NSEC3) { n.Flags = 2 },
		"deep owner": func(n *dns.NSEC3) { n.Hdr.Name = strings.Replace(n.Hdr.Name, ".", ".x.", 1) },
		"next short": func(n *dns.NSEC3) { n.NextDomain, n.HashLength = n.NextDomain[:16], 10 },
	} {
		d := NewDenials(z.keys, z.now, newBudget())
		for _, text := range []string{encloser("AB", 1), next("AB", 1)} {
			if err := d.Add(z.set(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Add(forged(edit)); err != nil {
			t.Fatal(err)
		}
		if a, err := d.Deny(name, dns.TypeA, 0); (err == nil) != (what == "") {
			t.Errorf("altered %q: %+v, %v", what, a, err)
		}
	}
}

// P3: a record that is ignored proves nothing by itself.
func TestP3IgnoredNSEC3(t *testing.T) {
	t.Parallel()
	const hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"
	good := func() *dns.NSEC3 {
		return &dns.NSEC3{Hdr: dns.RR_Header{Name: hash + ".example.", Rrtype: dns.TypeNSEC3}, Hash: 1, NextDomain: strings.ToUpper(hash)}
	}
	for what, edit := range map[string]func(*dns.NSEC3){
		"algorithm 0":   func(n *dns.NSEC3) { n.Hash = 0 },
		"algorithm 2":   func(n *dns.NSEC3) { n.Hash = 2 },
		"flags 2":       func(n *dns.NSEC3) { n.Flags = 2 },
		"flags 128":     func(n *dns.NSEC3) { n.Flags = 128 },
		"at the apex":   func(n *dns.NSEC3) { n.Hdr.Name = "example." },
		"too deep":      func(n *dns.NSEC3) { n.Hdr.Name = hash + ".x.example." },
		"another zone":  func(n *dns.NSEC3) { n.Hdr.Name = hash + ".test." },
		"owner short":   func(n *dns.NSEC3) { n.Hdr.Name = hash[:16] + ".example." },
		"owner long":    func(n *dns.NSEC3) { n.Hdr.Name = hash + hash[:8] + ".example." },
		"owner no hash": func(n *dns.NSEC3) { n.Hdr.Name = strings.Repeat("z", 32) + ".example." },
		"next short":    func(n *dns.NSEC3) { n.NextDomain = n.NextDomain[:16] },
		"next long":     func(n *dns.NSEC3) { n.NextDomain += n.NextDomain[:8] },
		"next no hash":  func(n *dns.NSEC3) { n.NextDomain = strings.Repeat("Z", 32) },
		"next empty":    func(n *dns.NSEC3) { n.NextDomain = "" },
	} {
		n := good()
		edit(n)
		if record, ok := newNSEC3(n, "example."); ok {
			t.Errorf("%s: %+v", what, record)
		}
		d := NewDenials(&KeySet{Apex: "example."}, time.Time{}, newBudget())
		d.addVerified(&RRset{Name: n.Hdr.Name, Type: dns.TypeNSEC3, Records: []dns.RR{n}})
		if d.nsec3 != nil {
			t.Errorf("%s: it begins a chain", what)
		}
	}
	if _, ok := newNSEC3(good(), "example."); !ok {
		t.Error("a good record is ignored")
	}
	// Several records at one name prove nothing.
	for _, texts := range [][2]string{
		{"a.example. 60 IN NSEC m.example. A", "a.example. 60 IN NSEC z.example. A"},
		{hash + ".example. 60 IN NSEC3 1 0 0 - " + hash + " A", hash + ".example. 60 IN NSEC3 1 0 0 - " + hash + " TXT"},
	} {
		d := NewDenials(&KeySet{Apex: "example."}, time.Time{}, newBudget())
		records := []dns.RR{dnsdata.RR(t, texts[0]), dnsdata.RR(t, texts[1])}
		d.addVerified(&RRset{Name: records[0].Header().Name, Type: records[0].Header().Rrtype, Records: records})
		if d.nsec3 != nil || len(d.nsec) > 0 {
			t.Errorf("%s and another: %+v", texts[0], d)
		}
	}
}

// P3: the only record of a chain, the last one, and the first.
func TestP3EndsOfTheChain(t *testing.T) {
	t.Parallel()
	at := func(b byte) []byte { return slices.Repeat([]byte{b}, 20) }
	for _, tt := range []struct {
		owner, next, hash byte
		covers            bool
	}{
		{1, 3, 2, true}, {1, 3, 1, false}, {1, 3, 3, false}, {1, 3, 4, false}, {1, 3, 0, false},
		{3, 1, 4, true}, {3, 1, 0, true}, {3, 1, 3, false}, {3, 1, 1, false}, {3, 1, 2, false},
		{2, 2, 1, true}, {2, 2, 3, true}, {2, 2, 2, false},
	} {
		n := nsec3{owner: at(tt.owner), next: at(tt.next)}
		if got := n.covers(at(tt.hash)); got != tt.covers {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	// A zone with one name.
	z := newSignedZone(t, "example.com.")
	a, err := z.deny(newBudget(), "x.example.com.", dns.TypeA, z.nsec3("example.com.", 0, "-", 0, "NS SOA"))
	if err != nil || a.Rcode != dns.RcodeNameError {
		t.Errorf("the only record: %+v, %v", a, err)
	}
}

// P4, SEC-69, SEC-70: after the budget is spent, nothing is hashed and nothing is proven.
func TestP4SpentBudget(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	const name = "x.mx.example.com."
	records := []string{z.nsec3("mx.example.com.", 1, "-", 0, "A"), z.over3(name, "-", 0, 0), z.over3("*.mx.example.com.", "-", 0, 0)}
	// The name, the encloser and the wildcard are hashed.
	for left := range 5 {
		b := newBudget()
		b.NSEC3Hashes = left
		a, err := z.deny(b, name, dns.TypeA, records...)
		if left < 3 {
			expectLimit(t, "NSEC3 name hashes", err)
			if a != nil || b.NSEC3Hashes != 0 {
				t.Errorf("%d hashes: %+v, %d left", left, a, b.NSEC3Hashes)
			}
		} else if err != nil || a.Rcode != dns.RcodeNameError {
			t.Errorf("%d hashes: %+v, %v", left, a, err)
		}
	}
	b := newBudget()
	b.NSEC3Hashes = 0
	chain := newNSEC3Chain(&dns.NSEC3{}, "example.com.", b)
	chain.records = []nsec3{{owner: slices.Repeat([]byte{9}, 20), next: make([]byte, 20)}, {}}
	for range 2 {
		if hash := chain.hash(name); hash != nil || len(chain.hashes) != 0 {
			t.Errorf("hashed to %x without a budget", hash)
		}
	}
	if chain.match(name) != nil || chain.cover(name) != nil {
		t.Error("a name that was not hashed has a record")
	}
	// The same holds for the proof that an expansion needs, and for signatures.
	made := z.expanded("m.wild.example.com.", "*.wild.example.com. 60 IN A 192.0.2.1")
	covering := z.set(z.over3("m.wild.example.com.", "-", 0, 0))
	b = newBudget()
	b.NSEC3Hashes = 0
	_, _, err := VerifyAnswer(made, []*RRset{covering}, z.keys, z.now, b)
	expectLimit(t, "NSEC3 name hashes", err)
	for left, what := range []string{"signature verifications", "signature verifications", ""} {
		b := newBudget()
		b.Verifications = left
		if _, _, err := VerifyAnswer(made, []*RRset{covering}, z.keys, z.now, b); what != "" {
			expectLimit(t, what, err)
		} else if err != nil {
			t.Error(err)
		}
	}
	// A part of the records does not prove what all of them would.
	b = newBudget()
	b.Verifications = 2
	nothing := z.set("n.wild.example.com. 60 IN NSEC z.wild.example.com. A")
	_, _, err = VerifyAnswer(made, []*RRset{z.set("a.wild.example.com. 60 IN NSEC z.wild.example.com. A"), nothing}, z.keys, z.now, b)
	expectLimit(t, "signature verifications", err)
}

// P4: the limits of one reply are what they say, and one RRset that breaks a limit of its own
// is left out.
func TestP4LimitsOfOneReply(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	d := NewDenials(z.keys, z.now, newBudget())
	for i := range d.budget.Limits.DenialRecords {
		for _, text := range []string{"example.com. 60 IN SOA a. b. 1 2 3 4 5", fmt.Sprintf("n%d.example.com. 60 IN NSEC z.example.com. A", i)} {
			if err := d.Add(z.set(text)); err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
		}
	}
	expectLimit(t, "records of denial", d.Add(z.set("x.example.com. 60 IN NSEC z.example.com. A")))

	many := z.set("a.wild.example.com. 60 IN NSEC b.wild.example.com. A")
	bad := dns.Copy(many.Sigs[0]).(*dns.RRSIG)
	bad.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64))
	many.Sigs = append(slices.Repeat([]*dns.RRSIG{bad}, newBudget().Limits.SignaturesPerRRset), many.Sigs...)
	made := z.expanded("m.wild.example.com.", "*.wild.example.com. 60 IN A 192.0.2.1")
	good := z.set("a.wild.example.com. 60 IN NSEC z.wild.example.com. A")
	if _, insecure, err := VerifyAnswer(made, []*RRset{many, good}, z.keys, z.now, newBudget()); insecure || err != nil {
		t.Errorf("beside an RRset with many signatures: %v", err)
	}
	_, err := CollectDenials([]*RRset{many}, z.keys, z.now, newBudget())
	expectLimit(t, "signatures of one RRset", err)
	many.Sigs = many.Sigs[1:]
	if _, err := CollectDenials([]*RRset{many}, z.keys, z.now, newBudget()); err != nil {
		t.Errorf("one signature less: %v", err)
	}
	// What cannot be decoded costs nothing.
	bad.Signature = "####"
	many.Sigs = append(slices.Repeat([]*dns.RRSIG{bad}, 100), many.Sigs[len(many.Sigs)-1])
	b := newBudget()
	if _, err := Verify(many, z.keys, z.now, b); err != nil || b.Verifications != 63 {
		t.Errorf("behind signatures that cannot be decoded: %v, %d left", err, b.Verifications)
	}
}

// P5: signatures over records that are not there, as a hostile server sends them.
func TestP5SignaturesWithoutRecords(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	for _, text := range []string{
		"example.com. 60 IN SOA a. b. 1 2 3 4 5", "a.example.com. 60 IN NSEC z.example.com. A", z.over3("m.example.com.", "-", 0, 0),
		"example.com. 60 IN DNAME example.org.", "m.example.com. 60 IN A 192.0.2.1", "example.com. 60 IN NS a.",
	} {
		set := z.set(text)
		section, _ := NewSection([]dns.RR{set.Sigs[0]}, func(uint16) bool { return true })
		if len(section) != 1 || section[0].Type != set.Type || len(section[0].Records) != 0 {
			t.Fatalf("%s: %+v", text, section)
		}
		section[0].Name = set.Name
		expectFault(t, text, section[0].Complete(), SignatureInvalid)
		if section[0].Denies() || section.Find(set.Name, set.Type) != nil || section.IsReferral() || section.DNAME("x."+set.Name) != nil {
			t.Errorf("%s: signatures count as records", text)
		}
		if ttl := section.NegativeTTL(); ttl != 0 {
			t.Errorf("%s: the denial is kept for %d s", text, ttl)
		}
		if ttl := section.Separated().NegativeTTL(); ttl != 0 {
			t.Errorf("%s: the denial is kept for %d s", text, ttl)
		}
		if a, err := CollectDenials(section, z.keys, z.now, newBudget()); err != nil || len(a.nsec) > 0 || a.nsec3 != nil {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
		if err := set.Complete(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// P11, RFC 2308 section 5: a denial is kept for the smaller of the TTL and the MINIMUM of the
// SOA record, and without SOA record not at all.
func TestP11NegativeTTL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint32{
		"example.com. 900 IN SOA a. b. 1 2 3 4 300":        300,
		"example.com. 300 IN SOA a. b. 1 2 3 4 900":        300,
		"example.com. 300 IN SOA a. b. 900 900 900 900 7":  7,
		"example.com. 0 IN SOA a. b. 1 2 3 4 900":          0,
		"example.com. 900 IN SOA a. b. 1 2 3 4 0":          0,
		"example.com. 999999 IN SOA a. b. 1 2 3 4 999999":  MaxTTL,
		"example.com. 2147483648 IN SOA a. b. 1 2 3 4 900": 0, // RFC 2181 section 8
		"example.com. 900 IN NS a.":                        0,
		"a.example.com. 900 IN NSEC z.example.com. A":      0,
	} {
		section, _ := NewSection([]dns.RR{dnsdata.RR(t, text)}, func(uint16) bool { return true })
		if got := section.NegativeTTL(); got != want {
			t.Errorf("%s: %d s, want %d", text, got, want)
		}
	}
	if got := (Section)(nil).NegativeTTL(); got != 0 {
		t.Errorf("nothing is kept for %d s", got)
	}
	for ttl, want := range map[uint32]uint32{0: 0, 1: 1, MaxTTL: MaxTTL, MaxTTL + 1: MaxTTL, 1<<31 - 1: MaxTTL, 1 << 31: 0, 1<<32 - 1: 0} {
		set := &RRset{Records: []dns.RR{&dns.A{Hdr: dns.RR_Header{Ttl: ttl}}}}
		if got := set.TTL(); got != want {
			t.Errorf("a TTL of %d is %d, want %d", ttl, got, want)
		}
	}
}

// P12: records are compared and signed in canonical form, and stay as they came: a reply is
// shared by all who asked.
func TestP12RepliesAreNotWritten(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	for _, text := range []string{
		"Mx.Example.com. 60 IN MX 10 Mail.Example.COM.", "Mx.Example.com. 60 IN CNAME A.Example.COM.", "Mx.Example.com. 60 IN NS Ns.Example.COM.",
		"Mx.Example.com. 60 IN SOA Ns.Example.COM. Host.Example.COM. 1 2 3 4 5", "Mx.Example.com. 60 IN SRV 1 2 25 A.Example.COM.",
		"Mx.Example.com. 60 IN NSEC Next.Example.COM. A", "Mx.Example.com. 60 IN DNAME A.Example.COM.", "Mx.Example.com. 60 IN RP A.Example.COM. B.Example.COM.",
		"Mx.Example.com. 60 IN NAPTR 1 2 \"S\" \"SIP\" \"\" A.Example.COM.", "Mx.Example.com. 60 IN PTR A.Example.COM.", "Mx.Example.com. 60 IN TXT \"A\"",
	} {
		set := z.set(text)
		second := dns.Copy(set.Records[0])
		set.Records = append(set.Records, second)
		before := []string{set.Records[0].String(), second.String(), set.Sigs[0].String()}
		if _, err := Verify(set, z.keys, z.now, newBudget()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		set.Distinct()
		newSignedData(set)
		if _, err := RDATA(second); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if after := []string{set.Records[0].String(), second.String(), set.Sigs[0].String()}; !slices.Equal(before, after) {
			t.Errorf("%q became %q", before, after)
		}
	}
}

// In addition to P2, SEC-47 to SEC-51: each clause of a denial by NSEC.
func TestP2ClausesOfNSEC(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	const name = "m.example.com."
	for _, tt := range []struct {
		what, name string
		rtype      uint16
		records    []string
		rcode      int // or -1
	}{
		{"the name itself is next", name, dns.TypeA, []string{"a.example.com. 60 IN NSEC m.example.com. A", "example.com. 60 IN NSEC a.example.com. NS SOA"}, -1},
		{"the name is the owner", name, dns.TypeA, []string{"m.example.com. 60 IN NSEC z.example.com. A", "example.com. 60 IN NSEC a.example.com. NS SOA"}, -1},
		{"the name is before the owner", "a.example.com.", dns.TypeA, []string{"m.example.com. 60 IN NSEC z.example.com. A", "example.com. 60 IN NSEC a.example.com. NS SOA"}, -1},
		{"between", name, dns.TypeA, []string{"a.example.com. 60 IN NSEC z.example.com. A", "example.com. 60 IN NSEC a.example.com. NS SOA"}, dns.RcodeNameError},
		{"another zone", "m.example.org.", dns.TypeA, []string{"z.example.com. 60 IN NSEC example.com. A", "example.com. 60 IN NSEC a.example.com. NS SOA"}, -1},
		{"the zone above", "com.", dns.TypeA, []string{"example.com. 60 IN NSEC example.com. NS SOA"}, -1},
		{"below a delegation, and above the next name", "x.m.example.com.", dns.TypeA, []string{"m.example.com. 60 IN NSEC a.x.m.example.com. NS"}, -1},
		{"an empty non-terminal", "x.m.example.com.", dns.TypeA, []string{"m.example.com. 60 IN NSEC a.x.m.example.com. A"}, dns.RcodeSuccess},
		{"the child's apex, about DS", name, dns.TypeDS, []string{"m.example.com. 60 IN NSEC z.example.com. NS SOA"}, -1},
		{"the parent's side, about DS", name, dns.TypeDS, []string{"m.example.com. 60 IN NSEC z.example.com. NS"}, dns.RcodeSuccess},
		{"the parent's side, about A", name, dns.TypeA, []string{"m.example.com. 60 IN NSEC z.example.com. NS"}, -1},
		{"the apex, about A", "example.com.", dns.TypeA, []string{"example.com. 60 IN NSEC z.example.com. NS SOA"}, dns.RcodeSuccess},
		{"NSEC counts beside an NSEC3 that proves nothing", name, dns.TypeA, []string{"m.example.com. 60 IN NSEC z.example.com. TXT", z.nsec3("q.example.com.", 1, "-", 0, "A")}, dns.RcodeSuccess},
		{"an NSEC3 of the name contradicts", name, dns.TypeA, []string{z.nsec3(name, 1, "-", 0, "A")}, -1},
	} {
		a, err := z.deny(newBudget(), tt.name, tt.rtype, tt.records...)
		if tt.rcode < 0 && err == nil || tt.rcode >= 0 && (err != nil || a.Rcode != tt.rcode) {
			t.Errorf("%s: %+v, %v", tt.what, a, err)
		}
	}
	a, err := z.deny(newBudget(), name, dns.TypeA, "a.example.com. 60 IN NSEC z.example.com. A", "*.example.com. 60 IN NSEC a.example.com. TXT")
	if err != nil || !a.Wildcard || a.Rcode != dns.RcodeSuccess {
		t.Errorf("through a wildcard: %+v, %v", a, err)
	}
	a, err = z.deny(newBudget(), name, dns.TypeDS, "m.example.com. 60 IN NSEC z.example.com. NS")
	if err != nil || !a.Delegation || a.Wildcard || a.Insecure {
		t.Errorf("a delegation: %+v, %v", a, err)
	}
	if a, err := newNSEC3Chain(&dns.NSEC3{Iterations: 101}, "example.com.", newBudget()).deny("m.example.org.", dns.TypeA, 0); a != nil || err != nil {
		t.Errorf("NSEC3 of another zone: %+v, %v", a, err)
	}
}

// In addition to P1, SEC-30 to SEC-33: who may sign what. The keys are right, and the signatures
// verify.
func TestP1WhoMaySign(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	for text, ok := range map[string]bool{
		"example.com. 60 IN A 192.0.2.1":      true,
		"mx.example.com. 60 IN A 192.0.2.1":   true,
		"mx.example.org. 60 IN A 192.0.2.1":   false,
		"com. 60 IN A 192.0.2.1":              false,
		"evilexample.com. 60 IN A 192.0.2.1":  false,
		"sub.example.com. 60 IN DS 1 13 2 00": true,
		"example.com. 60 IN DS 1 13 2 00":     false, // that is in the zone above
		"example.com. 60 IN PTR a.":           true,
	} {
		b := newBudget()
		_, err := Verify(z.set(text), z.keys, z.now, b)
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if !ok && b.Verifications != 64 {
			t.Errorf("%s: a verification was spent", text)
		}
	}
	// The other checks that cost nothing say what is wrong, and cost nothing.
	for what, tt := range map[string]struct {
		edit  func(*dns.RRSIG)
		fault Fault
		says  string
	}{
		"more labels":    {func(s *dns.RRSIG) { s.Labels = 4 }, SignatureInvalid, "more labels than its owner"},
		"fewer labels":   {func(s *dns.RRSIG) { s.Labels = 1 }, SignatureInvalid, "wildcard above its zone"},
		"backwards":      {func(s *dns.RRSIG) { s.Inception, s.Expiration = s.Expiration, s.Inception }, SignatureInvalid, "before its inception"},
		"expired":        {func(s *dns.RRSIG) { s.Expiration = uint32(z.now.Unix()) - 1 }, SignatureExpired, "since 2027"},
		"not yet valid":  {func(s *dns.RRSIG) { s.Inception = uint32(z.now.Unix()) + 1 }, SignatureNotYetValid, "until 2027"},
		"another tag":    {func(s *dns.RRSIG) { s.KeyTag++ }, KeyMissing, "no usable key with tag"},
		"another key":    {func(s *dns.RRSIG) { s.Algorithm = dns.ED25519 }, KeyMissing, "algorithm 15"},
		"another signer": {func(s *dns.RRSIG) { s.SignerName = "com." }, SignatureMissing, "no RRSIG by"},
	} {
		set, b := z.set("mx.example.com. 60 IN A 192.0.2.1"), newBudget()
		tt.edit(set.Sigs[0])
		_, err := Verify(set, z.keys, z.now, b)
		expectFault(t, what, err, tt.fault, tt.says)
		if b.Verifications != 64 {
			t.Errorf("%s: a verification was spent", what)
		}
	}
	set := z.set("mx.example.com. 60 IN A 192.0.2.1")
	set.Sigs[0].Signature = base64.StdEncoding.EncodeToString(make([]byte, 64))
	_, err := Verify(set, z.keys, z.now, newBudget())
	expectFault(t, "a wrong signature", err, SignatureInvalid, "does not verify")
	set = &RRset{Name: "mx.example.com.", Type: dns.TypeTXT, Records: []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: "mx.example.com."}, Txt: []string{strings.Repeat("a", 300)}}}, Sigs: z.set("mx.example.com. 60 IN TXT a").Sigs}
	_, err = Verify(set, z.keys, z.now, newBudget())
	expectFault(t, "a record that cannot be packed", err, Malformed)
}

// In addition to P1: the tolerance for clocks is exact.
func TestP1Tolerance(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	set := z.set("mx.example.com. 60 IN A 192.0.2.1") // valid for an hour before and after
	for _, tt := range []struct {
		early, late, at time.Duration
		fault           Fault // or 0
	}{
		{0, 0, time.Hour, 0}, {0, 0, time.Hour + time.Second, SignatureExpired},
		{0, 0, -time.Hour, 0}, {0, 0, -time.Hour - time.Second, SignatureNotYetValid},
		{10 * time.Second, 0, time.Hour + time.Second, SignatureExpired}, {0, 10 * time.Second, -time.Hour - time.Second, SignatureNotYetValid},
		{0, 10 * time.Second, time.Hour + 10*time.Second, 0}, {0, 10 * time.Second, time.Hour + 11*time.Second, SignatureExpired},
		{10 * time.Second, 0, -time.Hour - 10*time.Second, 0}, {10 * time.Second, 0, -time.Hour - 11*time.Second, SignatureNotYetValid},
	} {
		b := newBudget()
		b.Limits.Early, b.Limits.Late = tt.early, tt.late
		v, err := Verify(set, z.keys, z.now.Add(tt.at), b)
		switch {
		case tt.fault != 0:
			expectFault(t, fmt.Sprintf("%+v", tt), err, tt.fault)
		case err != nil:
			t.Errorf("%+v: %v", tt, err)
		case v.TTL != min(60, uint32((time.Hour+tt.late-tt.at)/time.Second)):
			t.Errorf("%+v: kept for %d s", tt, v.TTL)
		}
	}
}

// In addition to P1: of several signatures that fail, the error is about the one that is
// closest to valid.
func TestP1FlawOfSeveral(t *testing.T) {
	t.Parallel()
	all := []Fault{SignatureMissing, KeyMissing, SignatureExpired, SignatureInvalid}
	rank := map[Fault]int{SignatureMissing: 0, KeyMissing: 1, SignatureExpired: 2, SignatureInvalid: 2}
	for _, a := range all {
		for _, b := range all {
			want := a
			if rank[b] > rank[a] || a == SignatureMissing {
				want = b
			}
			if got := (flaw{fault: a}).or(flaw{fault: b}); got.fault != want {
				t.Errorf("%d or %d is %d, want %d", a, b, got.fault, want)
			}
		}
	}
}

// memoryOf remembers everything.
type memoryOf map[[32]byte]uint32

func (m memoryOf) Has(digest [32]byte) bool        { _, ok := m[digest]; return ok }
func (m memoryOf) Add(digest [32]byte, ttl uint32) { m[digest] = ttl }

// In addition to P1: a signature that is remembered as good is that of these octets by this key, and
// nothing else.
func TestP1RememberedSignatures(t *testing.T) {
	t.Parallel()
	z, other := newSignedZone(t, "example.com."), newSignedZone(t, "example.com.")
	b := newBudget()
	b.Memory = memoryOf{}
	for text, shared := range map[string]bool{
		"a.example.com. 60 IN NSEC z.example.com. A": true, z.over3("m.example.com.", "-", 0, 0): true,
		"example.com. 60 IN SOA a. b. 1 2 3 4 5": true, "example.com. 60 IN A 192.0.2.1": false, "example.com. 60 IN NS a.": false,
	} {
		set := z.set(text)
		before := len(b.Memory.(memoryOf))
		for range 2 {
			if _, err := Verify(set, z.keys, z.now, b); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			known := len(b.Memory.(memoryOf)) - before
			if shared != (known == 1) {
				t.Errorf("%s: %d are remembered", text, known)
			}
		}
		// Not for other records, another signature, or another key.
		altered := *set
		altered.Records = []dns.RR{dns.Copy(set.Records[0])}
		switch record := altered.Records[0].(type) {
		case *dns.NSEC:
			record.NextDomain = "zz.example.com."
		case *dns.NSEC3:
			record.TypeBitMap = nil
		case *dns.SOA:
			record.Minttl++
		case *dns.A:
			record.A[3]++
		case *dns.NS:
			record.Ns = "b."
		}
		_, err := Verify(&altered, z.keys, z.now, b)
		expectFault(t, text+" altered", err, SignatureInvalid)
		altered = *set
		sig := dns.Copy(set.Sigs[0]).(*dns.RRSIG)
		sig.Signature = other.set(text).Sigs[0].Signature
		altered.Sigs = []*dns.RRSIG{sig}
		_, err = Verify(&altered, z.keys, z.now, b)
		expectFault(t, text+" with another signature", err, SignatureInvalid)
		stranger := other.keys.Keys[0]
		stranger.tag = z.keys.Keys[0].tag
		_, err = Verify(set, &KeySet{"example.com.", []Key{stranger}}, z.now, b)
		expectFault(t, text+" by another key", err, SignatureInvalid)
		// The time is checked although the signature is remembered.
		_, err = Verify(set, z.keys, z.now.Add(2*time.Hour), b)
		expectFault(t, text+" later", err, SignatureExpired)
	}
	// What is remembered costs nothing.
	soa := z.set("example.com. 60 IN SOA a. b. 1 2 3 4 6")
	for left := range 2 {
		b.Verifications = 1 - left
		if _, err := Verify(soa, z.keys, z.now, b); err != nil || b.Verifications != 0 {
			t.Errorf("a signature for the time %d: %v, %d verifications left", left+1, err, b.Verifications)
		}
	}
	// Octets that move from one part to the next are other octets.
	set := &RRset{Name: "example.com.", Type: dns.TypeSOA, Records: []dns.RR{dnsdata.RR(t, "example.com. 60 IN SOA a. b. 1 2 3 4 5")}}
	memory := memoryOf{}
	key := z.keys.Keys[0]
	sig := z.set("example.com. 60 IN SOA a. b. 1 2 3 4 5").Sigs[0]
	covered := newSignedData(set).covered(sig)
	signature, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil {
		t.Fatal(err)
	}
	b = newBudget()
	b.Memory = memory
	if good, err := b.verifies(key, set, covered, signature); !good || err != nil {
		t.Fatalf("%v, %v", good, err)
	}
	moved := key
	moved.rdata = append(slices.Clone(key.rdata), covered[0])
	if good, err := b.verifies(moved, set, covered[1:], signature); good || err != nil {
		t.Errorf("an octet moved: %v, %v", good, err)
	}
	if good, err := b.verifies(key, set, append(slices.Clone(covered), signature[0]), signature[1:]); good || err != nil {
		t.Errorf("an octet of the signature moved: %v, %v", good, err)
	}
}

// In addition to P3, RFC 4509 section 3: SHA-1 is ignored beside a better digest, in any order.
func TestP3BetterDigest(t *testing.T) {
	t.Parallel()
	const sha1, sha256, sha384, unknown = "example. IN DS 1 13 1 00", "example. IN DS 1 13 2 00", "example. IN DS 1 13 4 00", "example. IN DS 1 13 3 00"
	for _, tt := range []struct {
		records []string
		want    []uint8
	}{
		{[]string{sha1}, []uint8{1}},
		{[]string{sha1, unknown}, []uint8{1}},
		{[]string{unknown}, nil},
		{[]string{sha1, sha256}, []uint8{2}},
		{[]string{sha256, sha1}, []uint8{2}},
		{[]string{sha384, sha1, unknown}, []uint8{4}},
		{[]string{sha1, sha384, sha256, sha1}, []uint8{4, 2}},
	} {
		set := &RRset{Name: "example.", Type: dns.TypeDS}
		for _, text := range tt.records {
			set.Records = append(set.Records, dnsdata.RR(t, text))
		}
		usable, err := UsableDS(set, false, newBudget())
		var got []uint8
		for _, ds := range usable {
			got = append(got, ds.DigestType)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, %v", tt.records, got, err)
		}
	}
	set := &RRset{Name: "example.", Type: dns.TypeDS}
	for i := range newBudget().Limits.KeysPerZone {
		set.Records = append(set.Records, dnsdata.RR(t, fmt.Sprintf("example. IN DS %d 13 2 00", i)))
	}
	if usable, err := UsableDS(set, false, newBudget()); err != nil || len(usable) != 32 {
		t.Errorf("as many as the limit: %d, %v", len(usable), err)
	}
	set.Records = append(set.Records, dnsdata.RR(t, "example. IN DS 999 13 2 00"))
	_, err := UsableDS(set, false, newBudget())
	expectLimit(t, "DS records of one delegation", err)
}

// In addition to P5: records of types that no answer needs are not kept, and neither are their
// signatures.
func TestP5ForeignRecords(t *testing.T) {
	t.Parallel()
	z := newSignedZone(t, "example.com.")
	isA := func(rtype uint16) bool { return rtype == dns.TypeA }
	a, txt := z.set("mx.example.com. 60 IN A 192.0.2.1"), z.set("mx.example.com. 60 IN TXT x")
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: dns.ClassINET}}
	chaos := dnsdata.RR(t, "mx.example.com. 60 CH A 192.0.2.1")
	for what, tt := range map[string]struct {
		records []dns.RR
		sets    int
		foreign bool
	}{
		"nothing":                   {nil, 0, false},
		"what is needed":            {[]dns.RR{a.Records[0], a.Sigs[0]}, 1, false},
		"a record":                  {[]dns.RR{a.Records[0], txt.Records[0]}, 1, true},
		"a record alone":            {[]dns.RR{txt.Records[0]}, 0, true},
		"a signature":               {[]dns.RR{a.Records[0], txt.Sigs[0]}, 1, false},
		"a record with a signature": {[]dns.RR{txt.Records[0], txt.Sigs[0], a.Records[0]}, 1, true},
		"OPT":                       {[]dns.RR{opt, a.Records[0]}, 1, false},
		"another class":             {[]dns.RR{chaos, a.Records[0]}, 1, false},
	} {
		section, foreign := NewSection(tt.records, isA)
		if len(section) != tt.sets || foreign != tt.foreign {
			t.Errorf("%s: %d RRsets, foreign %v", what, len(section), foreign)
		}
		if len(section) > 0 && section.Find("mx.example.com.", dns.TypeA) == nil {
			t.Errorf("%s: %+v", what, section[0])
		}
	}
}

// In addition to P3: the edges of what is read of keys, and what does not make a key usable.
func TestP3Keys(t *testing.T) {
	t.Parallel()
	ok := newKey(t, "example.com.", dns.ECDSAP256SHA256).record
	for what, edit := range map[string]func(*dns.DNSKEY){
		"no zone key":       func(k *dns.DNSKEY) { k.Flags = 0 },
		"only the SEP flag": func(k *dns.DNSKEY) { k.Flags = dns.SEP },
		"revoked":           func(k *dns.DNSKEY) { k.Flags |= dns.REVOKE },
		"protocol 2":        func(k *dns.DNSKEY) { k.Protocol = 2 },
		"no algorithm":      func(k *dns.DNSKEY) { k.Algorithm = 0 },
		"private algorithm": func(k *dns.DNSKEY) { k.Algorithm = 253 },
		"GOST":              func(k *dns.DNSKEY) { k.Algorithm = 12 },
		"Ed448":             func(k *dns.DNSKEY) { k.Algorithm = 16 },
		"no key":            func(k *dns.DNSKEY) { k.PublicKey = "" },
		"not on the curve":  func(k *dns.DNSKEY) { k.PublicKey = base64.StdEncoding.EncodeToString(make([]byte, 64)) },
		"too short":         func(k *dns.DNSKEY) { k.PublicKey = k.PublicKey[:84] },
	} {
		k := dns.Copy(ok).(*dns.DNSKEY)
		edit(k)
		if key, usable := NewKey(k, false); usable {
			t.Errorf("%s: %+v", what, key)
		}
	}
	for _, algorithm := range []uint8{dns.RSASHA1, dns.RSASHA1NSEC3SHA1} {
		k := newKey(t, "example.com.", algorithm).record
		if _, usable := NewKey(k, false); usable {
			t.Errorf("algorithm %d is used by default", algorithm)
		}
		if _, usable := NewKey(k, true); !usable {
			t.Errorf("algorithm %d is not used if it is enabled", algorithm)
		}
	}
	for digest, want := range map[uint8]int{0: 0, 1: 20, 2: 32, 3: 0, 4: 48, 5: 0} {
		if got := DigestSize(digest); got != want {
			t.Errorf("digest %d has %d octets, want %d", digest, got, want)
		}
	}
	modulus := slices.Repeat([]byte{0xff}, 128)
	for what, tt := range map[string]struct {
		data []byte
		ok   bool
	}{
		"exponent of 8 octets": {slices.Concat([]byte{8}, slices.Repeat([]byte{0xff}, 8), modulus), true},
		"exponent of 9 octets": {slices.Concat([]byte{9, 1}, slices.Repeat([]byte{0xff}, 8), modulus), false},
		"no exponent":          {slices.Concat([]byte{0, 0, 0}, modulus), false},
		"no modulus":           {[]byte{2, 1, 1}, false},
		"three octets":         {[]byte{1, 3, 0xff}, true},
		"two octets":           {[]byte{1, 3}, false},
		"a long length only":   {[]byte{0, 0, 1}, false},
	} {
		if got := rsaKey(tt.data, 8) != nil; got != tt.ok {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// In addition to P2: the span of a record has neither of its ends in it, and nothing outside the zone.
func TestP2Span(t *testing.T) {
	t.Parallel()
	last := newNSEC(dnsdata.RR(t, "m.example.com. 60 IN NSEC example.com. A").(*dns.NSEC), "example.com.")
	middle := newNSEC(dnsdata.RR(t, "b.example.com. 60 IN NSEC m.example.com. A").(*dns.NSEC), "example.com.")
	for _, tt := range []struct {
		n     nsec
		name  string
		spans bool
	}{
		{middle, "c.example.com.", true}, {middle, "b.example.com.", false}, {middle, "m.example.com.", false},
		{middle, "a.example.com.", false}, {middle, "n.example.com.", false}, {middle, "x.b.example.com.", true},
		{last, "z.example.com.", true}, {last, "m.example.com.", false}, {last, "a.example.com.", false},
		{last, "z.example.org.", false}, {last, "org.", false}, {last, "example.com.", false},
	} {
		if got := tt.n.spans(tt.name); got != tt.spans {
			t.Errorf("%s to %s spans %s: %v", tt.n.owner, tt.n.next, tt.name, got)
		}
		if got := tt.n.covers(tt.name); got != tt.spans {
			t.Errorf("%s to %s covers %s: %v", tt.n.owner, tt.n.next, tt.name, got)
		}
	}
}

// In addition to P2: only the NSEC records of the two sides of a zone cut are RRsets of their own.
func TestP2Separated(t *testing.T) {
	t.Parallel()
	above, below := newSignedZone(t, "example.com."), newSignedZone(t, "sub.example.com.")
	both := func(texts ...string) Section {
		set := above.set(texts[0])
		for _, text := range texts[1:] {
			other := below.set(text)
			set.Records = append(set.Records, other.Records...)
			set.Sigs = append(set.Sigs, other.Sigs...)
		}
		return Section{set}
	}
	const parent, child = "sub.example.com. 60 IN NSEC z.example.com. NS", "sub.example.com. 60 IN NSEC a.sub.example.com. NS SOA"
	for what, tt := range map[string]struct {
		section Section
		sets    int
	}{
		"the two sides":                   {both(parent, child), 2},
		"one side":                        {both(parent), 1},
		"one record, signed by two zones": {both(parent, parent), 1},
		"addresses, signed by two zones":  {both("sub.example.com. 60 IN A 192.0.2.1", "sub.example.com. 60 IN A 192.0.2.2"), 1},
		"two records of one zone":         {Section{above.set(parent, "sub.example.com. 60 IN NSEC y.example.com. NS")}, 1},
		"no record":                       {Section{{Name: "sub.example.com.", Type: dns.TypeNSEC, Sigs: both(parent, child)[0].Sigs}}, 1},
	} {
		got := tt.section.Separated()
		if len(got) != tt.sets {
			t.Errorf("%s: %d RRsets, want %d", what, len(got), tt.sets)
		}
		for _, set := range got {
			if tt.sets == 2 && (len(set.Records) != 1 || len(set.Sigs) != 2) {
				t.Errorf("%s: %+v", what, set)
			}
		}
	}
}

// In addition to P5: a referral names servers and has no SOA record.
func TestP5Referral(t *testing.T) {
	t.Parallel()
	const ns, soa, nsec = "example.com. 60 IN NS a.", "example.com. 60 IN SOA a. b. 1 2 3 4 5", "example.com. 60 IN NSEC z.example.com. NS"
	for _, tt := range []struct {
		texts []string
		want  bool
	}{
		{nil, false}, {[]string{ns}, true}, {[]string{soa}, false}, {[]string{nsec}, false}, {[]string{ns, soa}, false}, {[]string{soa, ns}, false},
		{[]string{ns, nsec}, true}, {[]string{nsec, ns}, true}, {[]string{nsec, soa}, false}, {[]string{soa, ns, nsec}, false},
	} {
		var records []dns.RR
		for _, text := range tt.texts {
			records = append(records, dnsdata.RR(t, text))
		}
		section, _ := NewSection(records, func(uint16) bool { return true })
		if got := section.IsReferral(); got != tt.want {
			t.Errorf("%v: %v", tt.texts, got)
		}
	}
	// Signatures over an SOA record are none.
	z := newSignedZone(t, "example.com.")
	section, _ := NewSection([]dns.RR{dnsdata.RR(t, ns), z.set(soa).Sigs[0]}, func(uint16) bool { return true })
	if !section.IsReferral() {
		t.Error("signatures alone are an SOA record")
	}
}

// In addition to P5: aliases that a server should not send.
func TestP5Aliases(t *testing.T) {
	t.Parallel()
	set := func(records ...dns.RR) *RRset {
		h := records[0].Header()
		return &RRset{Name: h.Name, Type: h.Rrtype, Records: records}
	}
	one := dnsdata.RR(t, "old.example. 60 IN DNAME new.example.")
	got, err := Redirect("a.old.example.", set(one, dns.Copy(one)), nil)
	if err != nil || got.Target != "a.new.example." || got.Hdr.Name != "a.old.example." || got.Hdr.Rrtype != dns.TypeCNAME || got.Hdr.Class != dns.ClassINET || got.Hdr.Ttl != 60 {
		t.Errorf("%v, %v", got, err)
	}
	_, err = Redirect("a.old.example.", set(one, dnsdata.RR(t, "old.example. 60 IN DNAME other.example.")), nil)
	expectFault(t, "two DNAME records", err, AliasInvalid)
	if e := new(Error); !errors.As(err, &e) || e.Type != dns.TypeCNAME || e.Name != "a.old.example." {
		t.Errorf("the error is about %+v", e)
	}
	_, err = Redirect("a.old.example.", set(&dns.DNAME{Hdr: *one.Header()}), nil)
	expectFault(t, "no target", err, AliasInvalid)
	if got, err := Redirect("a.example.", set(dnsdata.RR(t, ". 60 IN DNAME new.example.")), nil); err != nil || got.Target != "a.example.new.example." {
		t.Errorf("a DNAME at the root: %v, %v", got, err)
	}
	if got, err := Redirect("a.old.example.", set(dnsdata.RR(t, "old.example. 60 IN DNAME .")), nil); err != nil || got.Target != "a." {
		t.Errorf("a DNAME to the root: %v, %v", got, err)
	}
	cname := func(target string) *dns.CNAME {
		return &dns.CNAME{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: target}
	}
	if target, err := CNAMETarget(set(cname("B.Example."), cname("b.example."))); err != nil || target != "b.example." {
		t.Errorf("%q, %v", target, err)
	}
	_, err = CNAMETarget(set(cname("b.example."), cname("c.example.")))
	expectFault(t, "two CNAME records", err, AliasInvalid)
	_, err = CNAMETarget(set(cname("")))
	expectFault(t, "no target", err, AliasInvalid)
	_, err = CNAMETarget(set(cname(strings.Repeat("a", 64) + ".")))
	expectFault(t, "a target that is no name", err, AliasInvalid)
	// Only an ancestor redirects.
	for name, found := range map[string]bool{"a.old.example.": true, "old.example.": false, "old.test.": false, "aold.example.": false} {
		if got := (Section{set(one)}).DNAME(name); (got != nil) != found {
			t.Errorf("a DNAME for %s: %v", name, got)
		}
	}
	if got := (Section{{Name: "old.example.", Type: dns.TypeDNAME}}).DNAME("a.old.example."); got != nil {
		t.Error("signatures alone are a DNAME")
	}
}

// In addition to P3: keys and digests that a record could hold, and that are no match.
func TestP3Digests(t *testing.T) {
	t.Parallel()
	record := newKey(t, "example.com.", dns.ECDSAP256SHA256).record
	key, ok := NewKey(record, false)
	if !ok {
		t.Fatal("the key is not usable")
	}
	for digest, want := range map[uint8]bool{dns.SHA1: true, dns.SHA256: true, dns.SHA384: true} {
		ds := record.ToDS(digest)
		if got, err := key.MatchesAny([]*dns.DS{ds}, newBudget()); got != want || err != nil {
			t.Errorf("digest %d: %v, %v", digest, got, err)
		}
		for what, edit := range map[string]func(*dns.DS){
			"another tag":       func(ds *dns.DS) { ds.KeyTag++ },
			"another algorithm": func(ds *dns.DS) { ds.Algorithm = dns.ED25519 },
			"unknown type":      func(ds *dns.DS) { ds.DigestType = 3 },
			"no hexadecimal":    func(ds *dns.DS) { ds.Digest = "zz" },
			"a digit too many":  func(ds *dns.DS) { ds.Digest += "0" },
			"too short":         func(ds *dns.DS) { ds.Digest = ds.Digest[2:] },
			"empty":             func(ds *dns.DS) { ds.Digest = "" },
			"a bit": func(ds *dns.DS) {
				ds.Digest = strings.Map(func(r rune) rune { return map[bool]rune{true: '1', false: '0'}[r == '0'] }, ds.Digest)
			},
		} {
			bad := dns.Copy(ds).(*dns.DS)
			edit(bad)
			if got, err := key.MatchesAny([]*dns.DS{bad}, newBudget()); got || err != nil {
				t.Errorf("digest %d, %s: %v, %v", digest, what, got, err)
			}
		}
	}
	b := newBudget()
	b.Digests = 0
	_, err := key.MatchesAny([]*dns.DS{record.ToDS(dns.SHA256)}, b)
	expectLimit(t, "DNSKEY digests", err)
	// Records of other types in such an RRset are ignored.
	address := dnsdata.RR(t, "example.com. 60 IN A 192.0.2.1")
	if usable, err := UsableDS(&RRset{Records: []dns.RR{address, record.ToDS(dns.SHA256)}}, false, newBudget()); err != nil || len(usable) != 1 {
		t.Errorf("%v, %v", usable, err)
	}
	all, entry, err := KeysOf(&RRset{Name: "example.com.", Records: []dns.RR{address, record}}, []*dns.DS{record.ToDS(dns.SHA256)}, false, newBudget())
	if err != nil || len(all.Keys) != 1 || len(entry.Keys) != 1 {
		t.Errorf("%v, %v, %v", all, entry, err)
	}
	if size := key.Size(); size < 2*len(key.rdata)+200 || size > 1024 {
		t.Errorf("the key is said to take %d octets", size)
	}
	for what, text := range map[string]string{"not base64": "####", "base64 that ends early": record.PublicKey[:88] + "#"} {
		bad := dns.Copy(record).(*dns.DNSKEY)
		bad.PublicKey = text
		if _, ok := NewKey(bad, false); ok || HasPublicKey(bad) {
			t.Errorf("%s: the key is usable", what)
		}
	}
	whole := newKey(t, "example.com.", dns.RSASHA256).record
	if !HasPublicKey(whole) {
		t.Error("a good key is not readable")
	}
	whole.PublicKey = strings.TrimRight(whole.PublicKey, "=") + "#"
	if HasPublicKey(whole) {
		t.Error("a key with something behind it is readable")
	}
	// RFC 5702 section 2.2: keys for RSA/SHA-512 have 1024 bits at least.
	short := append([]byte{3, 1, 0, 1}, slices.Repeat([]byte{0xff}, 64)...)
	for algorithm, want := range map[uint8]bool{dns.RSASHA256: true, dns.RSASHA512: false} {
		k := &dns.DNSKEY{Hdr: record.Hdr, Flags: dns.ZONE, Protocol: 3, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(short)}
		if _, ok := NewKey(k, false); ok != want {
			t.Errorf("algorithm %d with 512 bits is usable: %v", algorithm, ok)
		}
	}
}

// In addition to P3, RFC 8017 section 8.2.2: a signature is smaller than the modulus, so that
// no second one can be made of it.
func TestP3OneSignature(t *testing.T) {
	t.Parallel()
	key, sign := rawRSA(t, big.NewInt(65537), 512)
	for i := range 1000 {
		digest := make([]byte, 32)
		digest[0], digest[1] = byte(i), byte(i>>8)
		signature := sign(crypto.SHA256, digest)
		second := new(big.Int).Add(new(big.Int).SetBytes(signature), key.n)
		if second.BitLen() > 512 {
			continue
		}
		if !verifyRSA(key, crypto.SHA256, digest, signature) {
			t.Error("a good signature is refused")
		}
		if verifyRSA(key, crypto.SHA256, digest, second.FillBytes(make([]byte, 64))) {
			t.Error("a signature and the modulus are accepted")
		}
		return
	}
	t.Fatal("no signature leaves room for the modulus")
}
