package dnssec

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

// smallRSA makes a 512-bit key, which crypto/rsa neither makes nor uses, and a
// function that signs with it. The prefixes are those of RFC 8017 section 9.2.
func smallRSA(tb testing.TB) (*rsa.PublicKey, func(hash crypto.Hash, digest []byte) []byte) {
	tb.Helper()
	e := big.NewInt(65537)
	for {
		p, err := rand.Prime(rand.Reader, 256)
		if err != nil {
			tb.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 256)
		if err != nil {
			tb.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		n := new(big.Int).Mul(p, q)
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || n.BitLen() != 512 {
			continue
		}
		prefixes := map[crypto.Hash][]byte{
			crypto.SHA1:   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
			crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
		}
		return &rsa.PublicKey{N: n, E: 65537}, func(hash crypto.Hash, digest []byte) []byte {
			tail := append(append([]byte{0}, prefixes[hash]...), digest...)
			em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 64-2-len(tail))...)
			m := new(big.Int).SetBytes(append(em, tail...))
			return m.Exp(m, d, n).FillBytes(make([]byte, 64))
		}
	}
}
