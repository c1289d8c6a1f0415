// Package differential compares the validator of dane/dnssec with unbound and
// with BIND's delv on generated DNS trees, and on replies that are altered as
// by an attacker or a broken server.
//
// All three validators get the same altered replies and have the same trust
// anchor. Each has its own server for the same tree. They must return the same
// status: secure, insecure, or no answer. If they differ, the test fails and
// reduces the tree, unless explain_test.go explains the difference. A verdict
// that contradicts the tree is always a failure: a secure answer that is not in
// the tree, or an insecure answer in a completely signed part of the tree. So
// is a secure verdict on an altered reply that both others call bogus, with the
// exception of one known fault of unbound.
//
// These environment variables control the test. MXSEAL_DIFFERENTIAL_SEED is the
// seed; the default is fixed and logged. MXSEAL_DIFFERENTIAL_QUESTIONS is the
// number of questions. MXSEAL_DIFFERENTIAL_TREE selects one tree of a run.
// MXSEAL_DIFFERENTIAL_REDUCE is the number of differences to reduce.
package differential
