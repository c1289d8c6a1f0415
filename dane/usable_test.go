package dane_test

import (
	"crypto"
	"crypto/sha3"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// digest adds hexadecimal data of the right length to a record of this kind.
func digest(kind string) string {
	switch kind[len(kind)-1] {
	case '1':
		return kind + " " + strings.Repeat("a1", 32)
	case '2':
		return kind + " " + strings.Repeat("a2", 64)
	}
	return kind + " " + strings.Repeat("a3", 48)
}

// TLSA-1, TLSA-18, TLSA-19, TLSA-26, OPS-2, OPS-5, OPS-7, OPS-28, OPS-37,
// DANE-81, field note 19. The usages 0 and 1 are not supported, so that OPS-40,
// OPS-41, TLSA-6 and TLSA-7 require only that they are unusable.
func TestSelectUsable(t *testing.T) {
	t.Parallel()
	cert := testpki.SelfSigned(t, mxNames).Cert
	der, key := fmt.Sprintf("%x", cert.Raw), fmt.Sprintf("%x", cert.RawSubjectPublicKeyInfo)
	for record, usable := range map[string]bool{
		digest("3 1 1"): true, digest("3 0 1"): true, digest("2 0 1"): true, digest("2 1 2"): true, digest("3 1 2"): true,
		// Usages 0 and 1 are not for mail.
		digest("0 0 1"): false, digest("1 1 1"): false, digest("0 1 2"): false,
		// Unknown and private values.
		digest("4 1 1"): false, digest("255 1 1"): false, digest("3 2 1"): false, digest("3 255 1"): false,
		digest("3 1 3"): false, digest("3 1 255"): false,
		// The digest has another length than it must have.
		digest("3 1 1") + "00": false, "3 1 1 ab": false, "3 1 2 " + strings.Repeat("ab", 32): false, "3 1 1 " + strings.Repeat("ab", 64): false,
		// Full is a certificate or a bare key, and not the other way round.
		"3 0 0 " + der: true, "2 0 0 " + der: true, "3 1 0 " + key: true, "2 1 0 " + key: true,
		"3 0 0 " + key: false, "3 1 0 " + der: false, "3 0 0 " + der + "00": false, "3 1 0 " + key + "00": false,
		"2 0 0 " + der[:len(der)-2]: false, "2 1 0 " + key[:len(key)-2]: false, "3 0 0 00": false, "3 1 0 00": false, "3 1 0 3000": false,
	} {
		if got := len(dane.Select([]dane.Record{parse(t, record)})) == 1; got != usable {
			t.Errorf("%.60s: usable is %v, want %v", record, got, usable)
		}
	}
	if got := dane.Select(nil); got != nil {
		t.Errorf("Select(nil) = %v", got)
	}
}

// OPS-24, OPS-27 to OPS-31, OPS-1, DANE-82, DANE-102, DANE-103, field note 20: digest agility.
func TestSelectDigestAgility(t *testing.T) {
	t.Parallel()
	key := fmt.Sprintf("3 1 0 %x", testpki.SelfSigned(t, mxNames).Cert.RawSubjectPublicKeyInfo)
	short512 := "3 1 2 " + strings.Repeat("a2", 63)
	for _, test := range []struct {
		name     string
		in, want []string
	}{
		{"OPS-30 strongest digest and Full stay",
			[]string{digest("3 1 1"), digest("3 1 2"), key}, []string{digest("3 1 2"), key}},
		{"OPS-31 groups are apart",
			[]string{digest("3 1 2"), digest("3 0 1"), digest("2 1 1")}, []string{digest("3 1 2"), digest("3 0 1"), digest("2 1 1")}},
		{"OPS-28 malformed first, then agility",
			[]string{short512, digest("3 1 1")}, []string{digest("3 1 1")}},
		{"several of the strongest, in order",
			[]string{digest("3 1 2"), digest("3 1 1"), digest("3 1 2")}, []string{digest("3 1 2"), digest("3 1 2")}},
		{"DANE-82 an unusable usage is in no group",
			[]string{digest("1 1 2"), digest("3 1 1")}, []string{digest("3 1 1")}},
		{"an unknown matching type is no strong digest",
			[]string{digest("3 1 3"), digest("3 1 1")}, []string{digest("3 1 1")}},
		{"nothing usable", // field note 11: the caller has the records, and knows that there were some
			[]string{digest("0 0 1"), digest("3 9 1")}, nil},
	} {
		var in []dane.Record
		for _, s := range test.in {
			in = append(in, parse(t, s))
		}
		var got []string
		for _, r := range dane.Select(in) {
			got = append(got, r.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// Field note 26: Select does not change the records.
func TestSelectDoesNotWrite(t *testing.T) {
	t.Parallel()
	fresh := func() []dane.Record {
		return []dane.Record{parse(t, digest("0 0 1")), parse(t, digest("3 1 1")), parse(t, digest("3 1 2")), parse(t, digest("9 9 9"))}
	}
	records := fresh()
	selected := dane.Select(records)
	if !reflect.DeepEqual(records, fresh()) {
		t.Error("Select changed what it was given")
	}
	_ = append(selected, dane.Record{Usage: 77})
	selected[0] = dane.Record{Usage: 78}
	if !reflect.DeepEqual(records, fresh()) {
		t.Error("what Select returned is the slice that it was given")
	}
}

// OPS-25, OPS-26, TLSA-20: a local order of digests, and additional digests.
func TestVerifierHasDigestOrder(t *testing.T) {
	t.Parallel()
	cert := testpki.SelfSigned(t, mxNames).Cert
	sha3 := sha3.Sum512(cert.RawSubjectPublicKeyInfo)
	good256, good512 := newRecord(t, "3 1 1", cert), newRecord(t, "3 1 2", cert)
	goodSHA3 := dane.Record{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: 200, Data: sha3[:]}

	var (
		weakFirst = dane.Verifier{Digests: []dane.Digest{{Type: dane.SHA256, Hash: crypto.SHA256}, {Type: dane.SHA512, Hash: crypto.SHA512}}}
		only512   = dane.Verifier{Digests: []dane.Digest{{Type: dane.SHA512, Hash: crypto.SHA512}}}
		withSHA3  = dane.Verifier{Digests: []dane.Digest{{Type: 200, Hash: crypto.SHA3_512}, {Type: dane.SHA256, Hash: crypto.SHA256}}}
		none      = dane.Verifier{Digests: []dane.Digest{}}
		absurd    = dane.Verifier{Digests: []dane.Digest{{Type: dane.Full, Hash: crypto.SHA256}, {Type: dane.SHA256, Hash: crypto.Hash(250)}}}
	)
	for _, test := range []struct {
		name     string
		verifier dane.Verifier
		records  []dane.Record
		selected int
		verifies bool
	}{
		{"SHA2-256 preferred", weakFirst, []dane.Record{parse(t, digest("3 1 2")), good256}, 1, true},
		{"SHA2-256 disabled", only512, []dane.Record{good256}, 0, false},
		{"SHA2-256 disabled, SHA2-512 there", only512, []dane.Record{good256, good512}, 1, true},
		{"another digest", withSHA3, []dane.Record{goodSHA3, parse(t, digest("3 1 1"))}, 1, true},
		{"another digest, not configured", dane.Verifier{}, []dane.Record{goodSHA3}, 0, false},
		{"no digest at all", none, []dane.Record{good256, newRecord(t, "3 1 0", cert)}, 1, true},
		{"a digest that cannot be", absurd, []dane.Record{good256}, 0, false},
	} {
		if got := len(test.verifier.Select(test.records)); got != test.selected {
			t.Errorf("%s: %d records selected, want %d", test.name, got, test.selected)
		}
		_, err := test.verifier.Verify(testpki.Chain(&testpki.Entity{Cert: cert}), test.records, mxNames, testpki.Now)
		if (err == nil) != test.verifies {
			t.Errorf("%s: Verify: %v", test.name, err)
		}
	}
}
