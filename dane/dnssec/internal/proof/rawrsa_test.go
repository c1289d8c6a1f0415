package proof

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"math/big"
	"testing"
)

// rawRSA makes a key, of a size or with an exponent that crypto/rsa refuses, and a
// function that signs with it. The prefixes are those of RFC 8017 section 9.2.
func rawRSA(tb testing.TB, e *big.Int, bits int) (*rsaPublicKey, func(hash crypto.Hash, digest []byte) []byte) {
	tb.Helper()
	size := bits / 8
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			tb.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			tb.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		n := new(big.Int).Mul(p, q)
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || n.BitLen() != bits {
			continue
		}
		prefixes := map[crypto.Hash][]byte{
			crypto.SHA1:   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
			crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
			crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
		}
		return &rsaPublicKey{n, e}, func(hash crypto.Hash, digest []byte) []byte {
			tail := append(append([]byte{0}, prefixes[hash]...), digest...)
			em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-2-len(tail))...)
			m := new(big.Int).SetBytes(append(em, tail...))
			return m.Exp(m, d, n).FillBytes(make([]byte, size))
		}
	}
}
