// Demo shows what a sender with package policy does. It starts a private
// internet with signed DNS, mail hosts, MTA-STS policy hosts and attackers. It
// sends a message to each of many domains, checks which host received it, and
// prints what happened and why.
//
//	go run ./examples/demo
//	go run ./examples/demo -explain stripped.test
//	go run ./examples/demo -json
//
// Each row is a domain from the tables in examples/internal/situations:
//
//	DOMAIN             SITUATION                             MAIL          BY            WHY
//	dane.test          TLSA 3 1 1                            authenticated DANE          TLSA record matches
//	stripped.test      STARTTLS stripped on the path         waits         DANE          starttls-not-supported
//	tlsa-servfail.test SERVFAIL for TLSA, addresses secure   waits         DANE          servfail
//	forged-mx.test     forged MX, attacker's host has DANE   waits         MTA-STS       mx-not-in-policy
//	null-mx.test       null MX: the domain takes no mail     returned      -             556 5.1.10
//
// The mail is "authenticated" if it was delivered over TLS to an authenticated
// server, "encrypted" if TLS did not require authentication, and "in clear"
// without TLS. It "waits" if the sender should retry later, and is "returned"
// if a retry cannot help.
//
// With -json, the output is one object per line with the members domain,
// situation, expected, got, ok, by, why, and, if ok is false, wrong. The exit
// status is 0 if all outcomes are as expected, 1 if not, and 2 for wrong usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mxseal/mxseal/examples/internal/situations"
	"github.com/mxseal/mxseal/policy/policytest"
)

// patience is the time limit of the demo.
const patience = 2 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print one JSON object for each domain")
	explain := flags.String("explain", "", "explain the plan for this `domain` of the demo")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: demo [-json] [-explain DOMAIN]")
		return 2
	}

	inet := policytest.New(nil)
	defer inet.Close()
	groups := situations.Groups()
	trials, err := situations.Build(ctx, inet, situations.All(groups))
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return 1
	}
	if *explain != "" {
		return explainOne(ctx, stdout, stderr, trials, *explain)
	}

	results := make(map[string]situations.Result, len(trials))
	collect := make(chan situations.Result, len(trials))
	start := time.Now()
	situations.AtOnce(trials, func(t *situations.Trial) { collect <- t.Run(ctx, situations.SendMail) })
	took := time.Since(start)
	close(collect)
	for r := range collect {
		results[r.Domain] = r
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
func explainOne(ctx context.Context, stdout, stderr io.Writer, trials []*situations.Trial, domain string) int {
	for _, t := range trials {
		if domain != t.Domain && domain != t.Recipient() {
			continue
		}
		plan, err := t.Plan(ctx)
		if err == nil {
			err = plan.Explain(stdout)
		}
		if err != nil {
			fmt.Fprintln(stdout, err)
		}
		return 0
	}
	fmt.Fprintf(stderr, "demo: the demo has no domain %q; run it without arguments to list all domains\n", domain)
	return 2
}

func failures(results map[string]situations.Result) int {
	n := 0
	for _, r := range results {
		if r.Wrong != nil {
			n++
		}
	}
	return n
}
