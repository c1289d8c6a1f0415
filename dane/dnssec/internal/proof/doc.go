// Package proof verifies DNSSEC signatures and proofs of non-existence (RFC
// 4034, 4035, 5155 and 6840). Its functions work on records alone: the caller
// supplies the keys of the zone, the time, and the budget.
//
// The package does not decide which zone a name belongs to. Package dnssec does.
package proof
