package proof

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
	"github.com/mxseal/mxseal/internal/test/seed"
)

// RFC 6605 section 4: r and s are as long as the field. crypto/ecdsa reads DER, where
// numbers are as short as possible and not negative.
func TestASN1Signature(t *testing.T) {
	t.Parallel()
	rng := seed.Rand(t)
	for range 2000 {
		rs := make([]byte, 2*[]int{32, 48}[rng.IntN(2)])
		for i := range rs {
			rs[i] = byte(rng.Uint32())
		}
		r, s := rs[:len(rs)/2], rs[len(rs)/2:]
		clear(r[:rng.IntN(len(r)+1)])
		clear(s[:rng.IntN(len(s)+1)])
		want, err := asn1.Marshal([]*big.Int{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
		if got := asn1Signature(r, s); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, %x: %x, want %x, %v", r, s, got, want, err)
		}
	}
}

// SEC-16: the key and its digests that RFC 4509 section 2.3 and RFC 4034
// section 5.4 print.
func TestRFC4509(t *testing.T) {
	t.Parallel()
	record := dnsdata.RR(t, "dskey.example.com. 86400 IN DNSKEY 256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==").(*dns.DNSKEY)
	key, ok := NewKey(record, true)
	if !ok {
		t.Fatal("the key is not usable")
	}
	for text, matches := range map[string]bool{
		"60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118":                         true,
		"60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A": true,
		"60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50B": false,
		"60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4":                         false,
		"60486 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A": false,
		"60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A": false,
		"60485 5 1 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A": false,
	} {
		ds := dnsdata.RR(t, "dskey.example.com. 86400 IN DS "+text).(*dns.DS)
		if got, err := key.MatchesAny([]*dns.DS{ds}, newBudget()); got != matches || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}
