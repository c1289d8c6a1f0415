// Package resolvconf reads resolv.conf(5).
package resolvconf

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
)

// File is what a resolv.conf says about servers. The keywords search, domain and
// sortlist, and the other options, are for names that are not absolute and for other
// queries than those of this library, so they have no meaning here.
type File struct {
	// Servers are the addresses of the nameserver lines, in their order and without
	// duplicates. The port is 53 unless the line has another.
	Servers []netip.AddrPort
	// Listed is true if there is a nameserver line, usable or not. If there is none,
	// the name server is that of this host.
	Listed bool
	// Timeout, Attempts, Rotate and UseTCP are the options timeout, attempts, rotate
	// and use-vc. 0 means that the file does not say.
	Timeout  time.Duration
	Attempts int
	Rotate   bool
	UseTCP   bool
	// TrustAD is the option trust-ad: the administrator says that the servers set the
	// AD bit honestly, and that nobody can forge it on the way.
	TrustAD bool
	// Problems are the lines that were skipped, and why. They are printable.
	Problems []string
}

// The bounds of a file. The C library reads three servers, waits at most 30 seconds, and
// makes at most five attempts.
const (
	maxOctets   = 1 << 16
	maxServers  = 16
	maxProblems = 16
	maxTimeout  = 30
	maxAttempts = 5
)

// Read reads a resolv.conf. It skips what it cannot use, and says so in Problems. The
// error is that of r.
func Read(r io.Reader) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxOctets))
	if err != nil {
		return nil, err
	}
	f := new(File)
	for i, line := range strings.Split(string(text), "\n") {
		if problem := f.line(line); problem != "" && len(f.Problems) < maxProblems {
			f.Problems = append(f.Problems, fmt.Sprintf("line %d: %s", i+1, problem))
		}
	}
	return f, nil
}

// line reads one line, and returns what is wrong with it, or "". A keyword begins at the
// first octet of the line.
func (f *File) line(line string) string {
	fields := strings.Fields(line)
	if len(fields) == 0 || !strings.HasPrefix(line, fields[0]) {
		return ""
	}
	switch fields[0] {
	case "nameserver":
		f.Listed = true
		if len(fields) < 2 {
			return "nameserver without an address"
		}
		return f.server(fields[1])
	case "options":
		for _, option := range fields[1:] {
			if problem := f.option(option); problem != "" {
				return problem
			}
		}
	}
	return ""
}

func (f *File) server(text string) string {
	server, err := netip.ParseAddrPort(text)
	if addr, plain := netip.ParseAddr(strings.Trim(text, "[]")); plain == nil {
		server, err = netip.AddrPortFrom(addr, 53), nil
	}
	switch {
	case err != nil || server.Port() == 0:
		return fmt.Sprintf("nameserver %s is not an IP address", names.Quote(text, 100))
	case slices.Contains(f.Servers, server):
	case len(f.Servers) == maxServers:
		return fmt.Sprintf("more than %d name servers", maxServers)
	default:
		f.Servers = append(f.Servers, server)
	}
	return ""
}

func (f *File) option(text string) string {
	name, value, _ := strings.Cut(text, ":")
	switch {
	case text == "rotate":
		f.Rotate = true
	case text == "use-vc":
		f.UseTCP = true
	case text == "trust-ad":
		f.TrustAD = true
	case name == "timeout", name == "attempts":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Sprintf("the option %s is not a positive number", names.Quote(text, 100))
		}
		if name == "timeout" {
			f.Timeout = time.Duration(min(n, maxTimeout)) * time.Second
		} else {
			f.Attempts = min(n, maxAttempts)
		}
	}
	return ""
}
