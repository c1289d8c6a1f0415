// Package dnstree is a DNS of its own, for tests: a tree of zones, really
// signed from its own root down, and a server on the loopback interface that
// answers from it as a recursive resolver would. The root key of the tree is
// the trust anchor under which its answers validate.
//
//	tree := dnstree.New()
//	tree.Zone("org")
//	zone := tree.Zone("example.org", dnstree.NSEC3(0, "", false))
//	zone.Add(`@ MX 10 mx`, `mx A 192.0.2.1`, `_25._tcp.mx TLSA 3 1 1 ab12...`)
//	tree.Start()
//	defer tree.Close()
//	// ask tree.Addr(), anchored at tree.Anchors()
//
// The server behaves like a resolver that honours DO and CD and validates
// nothing: it follows CNAME and DNAME across the zones of the tree, includes
// signatures and the NSEC or NSEC3 records that prove a denial or a wildcard,
// answers for DS records from the parent's zone, and truncates over UDP.
// Signatures are made when they are first asked for, so that a large tree
// costs nothing to build.
//
// [Tree.Break] makes chosen answers go wrong, as an attacker or a broken
// server would, for as long as wanted; [Tree.Slow] delays them. The tree counts
// what it was asked ([Tree.Count]) and how many round trips that took
// ([Tree.Rounds]).
//
// The mistakes of a caller, such as a record that does not parse, panic.
package dnstree
