// Package bigsender simulates the day of a large sender in miniature: an internet
// with the proportions of the real one, four relays that share a Redis server, an
// attacker, and outages of everything that relays depend on.
//
// Each relay is a process of its own, so that its costs are its own: its processor
// time, heap, descriptors, questions to the resolver, and commands to Redis. The
// internet, the attacker and the queue of messages are in the process of the test.
// All of them talk over real sockets of the loopback interface. The clock of the
// relays jumps between the hours of the day, so that plans expire and policies age.
//
// The test asserts what must hold:
//
//   - No message reaches a host with less protection than its domain asks for, or in
//     the case of MTA-STS than what the fleet knew when the attack began.
//   - No message is lost, and none is delivered twice, except those whose relay was
//     killed after the host had accepted them.
//   - No relay opens more descriptors than its configuration allows, in any outage.
//   - The reports of the day contain each session once.
//
// It runs on Linux only, where /proc tells how many descriptors a process has.
//
// It prints what a plan, a session, a message and a domain cost.
//
//	go test -v -run TestDay ./internal/test/bigsender                              # some seconds
//	MXSEAL_BIGSENDER_DOMAINS=300000 go test -v -timeout 2h -run TestDay ./internal/test/bigsender
package bigsender
