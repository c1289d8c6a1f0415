// Package seed makes tests with random input repeatable.
package seed

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// New returns a random seed, or that in the environment variable MXSEAL_SEED, and logs
// it.
func New(tb testing.TB) uint64 {
	tb.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("MXSEAL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("MXSEAL_SEED is %q, want a number", text)
		}
	}
	tb.Logf("MXSEAL_SEED=%d repeats this", seed)
	return seed
}

// Rand returns a generator with a seed of New.
func Rand(tb testing.TB) *rand.Rand {
	tb.Helper()
	return rand.New(rand.NewPCG(New(tb), 0))
}
