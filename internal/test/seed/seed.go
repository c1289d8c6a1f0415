// Package seed makes tests with random input repeatable.
package seed

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// New returns the seed of a test, and logs it. It follows from the name of the test, so
// that each run does the same. The environment variable MXSEAL_SEED may have another seed,
// or "random".
func New(tb testing.TB) uint64 {
	tb.Helper()
	h := fnv.New64a()
	h.Write([]byte(tb.Name()))
	return fromEnvironment(tb, h.Sum64())
}

// Random returns a random seed, or that in MXSEAL_SEED, and logs it. It is for tests that
// take a sample of what is too much for each run.
func Random(tb testing.TB) uint64 {
	tb.Helper()
	return fromEnvironment(tb, rand.Uint64())
}

func fromEnvironment(tb testing.TB, seed uint64) uint64 {
	tb.Helper()
	switch text := os.Getenv("MXSEAL_SEED"); text {
	case "":
	case "random":
		seed = rand.Uint64()
	default:
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("MXSEAL_SEED is %q, want a number or random", text)
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
