// Check tells how safely mail to a domain travels: what a sender finds out about
// it, and what it then demands of a TLS session with the mail hosts.
//
//	check example.org
//	check -connect example.org example.net
//	check -report FILE
//
// It prints the DNS records with their DNSSEC status, the plan that follows from
// them and from MTA-STS, and with -connect a session with every address of every
// mail host:
//
//	example.org: protected: every mail host must prove who it is
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
//	  certificate 0: CN=mx.example.org for mx.example.org, by CN=Issuer, until 2036-11-23
//	  TLSA 3 1 1 66a3b77fc1e42272...: matches the server's certificate
//
// The options are
//
//	-connect         connect to the mail hosts, on port 25, and look at their TLS
//	-server address  a DNS server, such as 192.0.2.1 or [2001:db8::1]:53; repeat it
//	                 or separate several by commas. It need not be trusted. Default:
//	                 those of /etc/resolv.conf
//	-anchor file     the DNSSEC trust anchors. Default: the root keys of IANA
//	-helo name       the name to say in EHLO. Default: the name of this machine
//	-timeout time    the time for one domain. Default: 1m
//	-json            print an object for each domain, one a line
//	-report file     print a TLS report that somebody sent, and what to do about it;
//	                 "-" is standard input. It is JSON, gzip, or a whole mail
//	                 message. No domain is checked
//
// The exit status, which "go run" hides, is the worst of all domains:
//
//	0  protected: every mail host that may get the mail must prove who it is, and
//	   nobody but the domain's owner can name others
//	1  unprotected: someone on the path can read the mail
//	2  wrong usage
//	3  broken: no mail host can be used, mostly because none meets the policy
//	4  unreachable: the domain does not exist, takes no mail or cannot be looked
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

// atOnce bounds the domains that are looked at side by side.
const atOnce = 8

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, deps{terminal: isTerminal(os.Stderr), patience: time.Second})
	stop()
	os.Exit(code)
}

// isTerminal reports whether somebody is likely to watch.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// deps are the parts that tests replace. The zero value is the real network,
// and nobody who watches.
type deps struct {
	dns      dnssec.Config
	policy   policy.Config // DNS is made of dns
	terminal bool          // tell what takes long on standard error
	patience time.Duration // how long nothing is told
}

// wishes are what the command line says.
type wishes struct {
	connect, json bool
	helo          string
	timeout       time.Duration
	report        string // the name of a file
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

// checkAll looks at all domains and delivers the results in their order.
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

// parse reads the command line. What is wrong with it has been said when it
// returns an error.
func parse(args []string, stderr io.Writer, d *deps) (wishes, error) {
	var w wishes
	var servers []string
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: check [options] domain...\n       check -report file")
		flags.PrintDefaults()
		fmt.Fprint(stderr, "exit status, the worst of all domains:\n"+
			"  0 protected    every mail host must prove who it is\n"+
			"  1 unprotected  someone on the path can read the mail\n"+
			"  2              wrong usage\n"+
			"  3 broken       no mail host can be used, mostly because none meets the policy\n"+
			"  4 unreachable  no such domain, no mail taken, no answer\n")
	}
	flags.BoolVar(&w.connect, "connect", false, "connect to the mail hosts and look at their TLS")
	flags.BoolVar(&w.json, "json", false, "print an object for each domain, one a line")
	flags.StringVar(&w.helo, "helo", "", "the `name` to say in EHLO (default: the name of this machine)")
	flags.DurationVar(&w.timeout, "timeout", time.Minute, "the `time` for one domain")
	flags.StringVar(&d.dns.AnchorFile, "anchor", d.dns.AnchorFile, "a `file` of DNSSEC trust anchors (default: the root keys of IANA)")
	flags.StringVar(&w.report, "report", "", "print the TLS report in a `file`, \"-\" for standard input, instead of checking domains")
	flags.Func("server", "the `address` of a DNS server; may be repeated, or be several with commas (default: those of /etc/resolv.conf)", func(list string) error {
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
		return w, errors.New("one of domains and a report is wanted")
	}
	return w, nil
}
