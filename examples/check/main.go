// Check shows how well mail to a domain is protected: the DNS records and the
// MTA-STS policy that a sender finds, and what the sender requires of TLS
// sessions with the mail hosts.
//
//	check example.org
//	check -connect example.org example.net
//	check -report FILE
//
// It prints the DNS records with their DNSSEC status and the plan that follows
// from them and from MTA-STS. With -connect, it also connects to every address
// of every mail host:
//
//	example.org: protected: every mail host must be authenticated
//	  MX   example.org. secure: 10 mx.example.org.
//	  A    mx.example.org. secure: 192.0.2.4
//	  AAAA mx.example.org. secure: none
//	  TLSA _25._tcp.mx.example.org. secure: 3 1 1 66a3b77fc1e422728c297a6868a62257bfe3...
//	the plan for example.org
//	  MX records: secure
//	  MTA-STS: not asked, because no host is left to it
//	  10 mx.example.org port 25: authenticated by DANE
//	    usable TLSA records, found securely
//	    ...
//	mx.example.org at 192.0.2.4: TLS 1.3: a sender would use it
//	  certificate 0: CN=mx.example.org for mx.example.org, issued by CN=Issuer, valid until 2036-11-23
//	  TLSA 3 1 1 66a3b77fc1e42272...: matches the server's certificate
//
// The options are
//
//	-connect         connect to the mail hosts and check their TLS
//	-server address  a DNS server, such as 192.0.2.1 or [2001:db8::1]:53; can be
//	                 repeated or comma-separated. It need not be trusted. Default:
//	                 the servers in /etc/resolv.conf
//	-anchor file     the DNSSEC trust anchors. Default: the root keys of IANA
//	-helo name       the name for EHLO. Default: the host name of this machine
//	-timeout time    the time limit for each domain. Default: 1m
//	-json            print one JSON object per line for each domain
//	-report file     explain a TLS report that was received, instead of checking
//	                 domains. The file can be JSON, gzip, or a whole mail message.
//	                 "-" is standard input
//
// The exit status is the worst of all domains ("go run" hides it):
//
//	0  protected: every mail host that can get the mail must be authenticated, and
//	   an attacker cannot redirect mail to other hosts
//	1  unprotected: an attacker on the path can read the mail
//	2  wrong usage
//	3  broken: no mail host can be used, usually because none meets the policy
//	4  unreachable: the domain does not exist, accepts no mail or cannot be looked
//	   up, or no mail host answers
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// atOnce limits the number of domains that are checked concurrently.
const atOnce = 8

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, deps{terminal: isTerminal(os.Stderr), patience: time.Second})
	stop()
	os.Exit(code)
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// deps are replaced by tests. The zero value uses the real network and prints
// no progress.
type deps struct {
	dns      dnssec.Config
	policy   policy.Config // its DNS is built from dns
	terminal bool          // print progress to standard error
	patience time.Duration // how long to wait before printing progress
}

// settings are the command-line flags and arguments.
type settings struct {
	connect, json bool
	helo          string
	timeout       time.Duration
	report        string // a file name
	domains       []string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, d deps) int {
	w, err := parse(args, stderr, &d)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	}
	if w.report != "" {
		return showReport(w.report, stdout, stderr)
	}
	c, err := newChecker(w, d)
	if err != nil {
		fmt.Fprintf(stderr, "check: %s\n", clean(err.Error()))
		return exitUsage
	}
	defer c.resolver.Close()
	if d.terminal {
		defer c.progress.watch(stderr, d.patience)()
	}
	show := printText
	if w.json {
		show = printJSON
	}
	worst := protected
	for i, r := range c.checkAll(ctx, w.domains) {
		result := <-r
		worst = max(worst, result.Verdict)
		if i > 0 && !w.json {
			fmt.Fprintln(stdout)
		}
		if err := show(stdout, result); err != nil {
			fmt.Fprintf(stderr, "check: %v\n", err)
			return exitUsage
		}
	}
	return int(worst)
}

// checkAll checks all domains concurrently. The channels are in the order of
// the domains.
func (c *checker) checkAll(ctx context.Context, domains []string) []chan *result {
	results := make([]chan *result, len(domains))
	places := make(chan struct{}, atOnce)
	for i, domain := range domains {
		results[i] = make(chan *result, 1)
		go func() {
			places <- struct{}{}
			results[i] <- c.check(ctx, domain)
			<-places
		}()
	}
	return results
}

// parse parses the command line. If it returns an error, it has printed it.
func parse(args []string, stderr io.Writer, d *deps) (settings, error) {
	var w settings
	var servers []string
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: check [options] domain...\n       check -report file")
		flags.PrintDefaults()
		fmt.Fprint(stderr, "exit status (the worst of all domains):\n"+
			"  0 protected    every mail host must be authenticated\n"+
			"  1 unprotected  an attacker on the path can read the mail\n"+
			"  2              wrong usage\n"+
			"  3 broken       no mail host can be used, usually because none meets the policy\n"+
			"  4 unreachable  no such domain, no mail accepted, or no answer\n")
	}
	flags.BoolVar(&w.connect, "connect", false, "connect to the mail hosts and check their TLS")
	flags.BoolVar(&w.json, "json", false, "print one JSON object per line for each domain")
	flags.StringVar(&w.helo, "helo", "", "the `name` for EHLO (default: the host name of this machine)")
	flags.DurationVar(&w.timeout, "timeout", time.Minute, "the `time` limit for each domain")
	flags.StringVar(&d.dns.AnchorFile, "anchor", d.dns.AnchorFile, "a `file` of DNSSEC trust anchors (default: the root keys of IANA)")
	flags.StringVar(&w.report, "report", "", "explain the TLS report in a `file` (\"-\" for standard input) instead of checking domains")
	flags.Func("server", "the `address` of a DNS server; can be repeated or comma-separated (default: the servers in /etc/resolv.conf)", func(list string) error {
		servers = append(servers, strings.Split(list, ",")...)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return w, err
	}
	if servers != nil {
		d.dns.Servers = servers
	}
	if w.domains = flags.Args(); (len(w.domains) == 0) == (w.report == "") {
		flags.Usage()
		return w, errors.New("want either domains or -report")
	}
	return w, nil
}
