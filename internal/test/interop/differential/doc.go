// Package differential compares the validator of dane/dnssec with unbound and
// with BIND's delv on DNS trees that a generator makes up, and on replies that
// it then alters as an attacker or a broken server would.
//
// All three meet the same altered replies, each at a server of its own that
// serves the same tree, with the same trust anchor. They must come to the same
// status: secure, insecure, or no answer at all. Where they do not, the test
// reduces the tree to what the difference needs and fails, unless the
// difference is one of those explained in explain_test.go. A verdict that the
// tree itself refutes is never explained away: an answer called secure that is
// not what the tree has, or one called insecure where the tree is signed
// without a gap. Nor is an altered
// reply that is called secure and that both others call bogus, with the exception
// of one known fault of unbound.
//
// MXSEAL_DIFFERENTIAL_SEED chooses the seed (the default is the same each time,
// and logged), MXSEAL_DIFFERENTIAL_QUESTIONS the number of questions, and
// MXSEAL_DIFFERENTIAL_TREE one tree of a run, to look at it again.
// MXSEAL_DIFFERENTIAL_REDUCE is how many differences are reduced.
package differential
