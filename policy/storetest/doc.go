// Package storetest tests implementations of the stores of this library. Authors of
// a Store call it from a test:
//
//	func TestPolicies(t *testing.T) {
//		storetest.Policies(t, func(t *testing.T, name string) mtasts.Store {
//			return open(t, filepath.Join(t.TempDir(), name))
//		})
//	}
//
// [Policies] tests an [mtasts.Store] and [Reports] a [reporter.Store]. Both also test
// the optional interfaces that the store implements: [mtasts.Leaser],
// [mtasts.FailureSharer], [mtasts.Watcher], [reporter.Leaser] and [reporter.Identifier].
//
// The function that opens a store is called with a name of lower-case letters and
// digits. Stores opened with the same name share their data, and a new name has no
// data. For a store that implements an optional interface, the function is called
// several times with the same name, as several programs would do. For other stores
// it is called once for each name. The function closes the store with t.Cleanup, if
// that is necessary.
//
// The stores and all names are used at the same time by several goroutines, so run
// the test with the race detector now and then.
package storetest
