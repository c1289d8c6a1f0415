// Package unboundbench compares what cold validated lookups cost with what they
// cost unbound, both asking the same upstream server. It has only a benchmark,
// which needs unbound and Linux:
//
//	go test -run '^$' -bench . -benchtime 3x ./internal/test/interop/unboundbench
package unboundbench
