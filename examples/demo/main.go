// Demo shows what a sender with package policy does, on a private internet that
// it starts itself: signed DNS, mail hosts, MTA-STS policy hosts, and attackers.
// It sends a message to each of many domains, looks where the message arrived,
// and prints what happened and why.
//
//	go run ./examples/demo
//	go run ./examples/demo -explain stripped.test
//	go run ./examples/demo -json
//
// Each row is a domain of the tables in this directory:
//
//	DOMAIN             SITUATION                             MAIL          BY            WHY
//	dane.test          TLSA 3 1 1                            authenticated DANE          TLSA record matches
//	stripped.test      STARTTLS stripped on the path         waits         DANE          starttls-not-supported
//	tlsa-servfail.test SERVFAIL for TLSA, addresses secure   waits         DANE          servfail
//	forged-mx.test     forged MX, attacker's host has DANE   waits         MTA-STS       mx-not-in-policy
//	null-mx.test       null MX: the domain takes no mail     returned      -             556 5.1.10
//
// The mail is "authenticated" when it was delivered over TLS to a server that
// proved who it is, "encrypted" when the server did not have to, and "in clear"
// without TLS. It "waits" when a sender should try again later, and is
// "returned" when that cannot help.
//
// With -json there is one object a line, with the members domain, situation,
// expected, got, ok, by, why, and wrong if ok is false. The exit status is 0 when
// everything is as it should be, 1 when not, and 2 for wrong usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mxseal/mxseal/policy/policytest"
)

// patience ends a demo that hangs.
const patience = 20 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print one JSON object for each domain")
	explain := flags.String("explain", "", "print how the plan for this `domain` of the demo came about")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: demo [-json] [-explain DOMAIN]")
		return 2
	}

	inet := policytest.New(nil)
	defer inet.Close()
	groups := scenarios()
	trials, err := build(ctx, inet, all(groups))
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return 1
	}
	if *explain != "" {
		return explainOne(ctx, stdout, stderr, trials, *explain)
	}

	results := make(map[string]result, len(trials))
	collect := make(chan result, len(trials))
	start := time.Now()
	atOnce(trials, func(t *trial) { collect <- t.run(ctx) })
	took := time.Since(start)
	close(collect)
	for r := range collect {
		results[r.domain] = r
	}
	if *asJSON {
		err = printJSON(stdout, groups, results)
	} else {
		err = printTable(stdout, groups, results, took)
	}
	if err != nil || failures(results) > 0 {
		return 1
	}
	return 0
}

// explainOne prints the plan for one domain.
func explainOne(ctx context.Context, stdout, stderr io.Writer, trials []*trial, domain string) int {
	for _, t := range trials {
		if domain != t.domain && domain != t.written {
			continue
		}
		plan, err := t.resolver.Resolve(ctx, t.recipient(), t.options...)
		if err == nil {
			err = plan.Explain(stdout)
		}
		if err != nil {
			fmt.Fprintln(stdout, err)
		}
		return 0
	}
	fmt.Fprintf(stderr, "demo: no domain of this demo is called %q; run it without arguments to see them all\n", domain)
	return 2
}

func failures(results map[string]result) int {
	n := 0
	for _, r := range results {
		if r.wrong != nil {
			n++
		}
	}
	return n
}
