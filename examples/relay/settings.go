package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// settings are the command-line flags.
type settings struct {
	listen, name          string
	lmtp                  bool
	maxSize               int64
	store, valkey         string
	contact, organization string
	dkimKey, dkimSelector string
	dkimRecord            bool
}

// parse parses the command line. If it returns an error, it has printed it.
func parse(args []string, stderr io.Writer, d *deps) (settings, error) {
	var s settings
	var servers []string
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:2525", "the loopback `address` to listen on")
	flags.BoolVar(&s.lmtp, "lmtp", false, "speak LMTP instead of SMTP")
	flags.StringVar(&s.name, "name", "", "the `name` of this host (default: the host name)")
	flags.Int64Var(&s.maxSize, "max-size", 25<<20, "the maximum size of a message, in `octets`")
	flags.StringVar(&s.store, "store", "", "store MTA-STS policies and report sums in this `file`")
	flags.StringVar(&s.valkey, "valkey", "", "share MTA-STS policies and report sums on the server whose URL is in this `file`")
	flags.StringVar(&s.contact, "contact", "", "send reports, from this `address`")
	flags.StringVar(&s.organization, "organization", "", "the `name` of the organization in reports (default: the domain of -contact)")
	flags.StringVar(&s.dkimKey, "dkim-key", "", "sign reports by mail with the key in this `file`")
	flags.StringVar(&s.dkimSelector, "dkim-selector", "tlsrpt", "the `selector` of the DKIM key")
	flags.BoolVar(&s.dkimRecord, "dkim-record", false, "print the DNS record of the key and exit")
	flags.StringVar(&d.dns.AnchorFile, "anchor", d.dns.AnchorFile, "a `file` of DNSSEC trust anchors (default: the root keys of IANA)")
	flags.Func("server", "the `address` of a DNS server; can be repeated or comma-separated (default: the servers in /etc/resolv.conf)", func(list string) error {
		servers = append(servers, strings.Split(list, ",")...)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if servers != nil {
		d.dns.Servers = servers
	}
	err := s.complete(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "relay: %v\n", err)
		flags.Usage()
	}
	return s, err
}

// complete sets defaults that depend on other settings, and checks the
// settings.
func (s *settings) complete(rest []string) (err error) {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case s.maxSize <= 0:
		return errors.New("-max-size must be positive")
	case s.store != "" && s.valkey != "":
		return errors.New("-store and -valkey cannot be used together")
	case s.contact == "" && (s.organization != "" || s.dkimKey != ""):
		return errors.New("-organization and -dkim-key require -contact")
	case s.dkimRecord && s.dkimKey == "":
		return errors.New("-dkim-record requires -dkim-key")
	}
	if s.organization == "" {
		s.organization = domainOf(s.contact)
	}
	if s.name == "" {
		s.name, err = os.Hostname()
	}
	return err
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
