package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// settings are what the command line says.
type settings struct {
	listen, name          string
	lmtp                  bool
	maxSize               int64
	store, valkey         string
	contact, organization string
	dkimKey, dkimSelector string
	dkimRecord            bool
}

// parse reads the command line. What is wrong with it has been said when it
// returns an error.
func parse(args []string, stderr io.Writer, d *deps) (settings, error) {
	var s settings
	var servers []string
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:2525", "the loopback `address` to listen on")
	flags.BoolVar(&s.lmtp, "lmtp", false, "speak LMTP instead of SMTP")
	flags.StringVar(&s.name, "name", "", "the `name` of this host (default: that of the machine)")
	flags.Int64Var(&s.maxSize, "max-size", 25<<20, "the largest message, in `octets`")
	flags.StringVar(&s.store, "store", "", "keep MTA-STS policies in this `file`")
	flags.StringVar(&s.valkey, "valkey", "", "share MTA-STS policies by the server whose URL is in this `file`")
	flags.StringVar(&s.contact, "contact", "", "report, as from this `address`")
	flags.StringVar(&s.organization, "organization", "", "the `name` of who reports (default: the domain of -contact)")
	flags.StringVar(&s.dkimKey, "dkim-key", "", "sign reports by mail with the key in this `file`")
	flags.StringVar(&s.dkimSelector, "dkim-selector", "tlsrpt", "the `name` of the key's DNS record")
	flags.BoolVar(&s.dkimRecord, "dkim-record", false, "print the DNS record of the key, and end")
	flags.StringVar(&d.dns.AnchorFile, "anchor", d.dns.AnchorFile, "a `file` of DNSSEC trust anchors (default: the root keys of IANA)")
	flags.Func("server", "the `address` of a DNS server; may be repeated, or be several with commas (default: those of /etc/resolv.conf)", func(list string) error {
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

// complete sets what follows from the rest, and finds what does not go together.
func (s *settings) complete(rest []string) (err error) {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is no option", rest[0])
	case s.maxSize <= 0:
		return errors.New("-max-size is not positive")
	case s.store != "" && s.valkey != "":
		return errors.New("-store and -valkey exclude each other")
	case s.contact == "" && (s.organization != "" || s.dkimKey != ""):
		return errors.New("-organization and -dkim-key need -contact")
	case s.dkimRecord && s.dkimKey == "":
		return errors.New("-dkim-record needs -dkim-key")
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
