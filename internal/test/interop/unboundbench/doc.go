// Package unboundbench compares the cost of cold validated lookups with that of
// unbound. Both query the same upstream server. It contains only a benchmark,
// which needs unbound and Linux:
//
//	go test -run '^$' -bench . -benchtime 3x ./internal/test/interop/unboundbench
package unboundbench
