package dnssec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// server is a recursive DNS server.
type server struct {
	addr     netip.AddrPort
	hostPort string // addr as text
	tlsName  string // name in its certificate if it is reached over TLS
	// ailingSince is when it last failed in a way that concerns all names, as
	// Unix nanoseconds. It only decides who is asked first.
	ailingSince atomic.Int64
	streams     pool // if it is reached over TLS
}

func (s *server) isTLS() bool { return s.tlsName != "" }

// ailingTime is for how long a server that failed is asked last.
const ailingTime = 30 * time.Second

func (s *server) String() string {
	if s.tlsName != "" {
		return "tls://" + s.hostPort + "#" + s.tlsName
	}
	return s.hostPort
}

// note remembers a failure that other names will meet as well: no contact, a
// refusal, or keys without signatures from a server that strips DNSSEC.
func (s *server) note(e *Error, now time.Time) {
	if e.Reason == Timeout || e.Reason == Unreachable || e.Reason == NotAuthenticated || e.Reason == Refused ||
		e.Reason == SignatureMissing && e.Type == TypeDNSKEY {
		s.ailingSince.Store(now.UnixNano())
	}
}

func (s *server) ails(now time.Time) bool {
	since := s.ailingSince.Load()
	return since != 0 && now.Sub(time.Unix(0, since)).Abs() < ailingTime
}

// parseServer reads "192.0.2.1", "192.0.2.1:53", "2001:db8::1",
// "[2001:db8::1]:53" and the same with "tls://" in front and "#name" behind.
func parseServer(text string) (*server, error) {
	rest, isTLS := strings.CutPrefix(text, "tls://")
	rest, name, _ := strings.Cut(rest, "#")
	port := uint16(53)
	if isTLS {
		port = 853
	}
	s := new(server)
	if addr, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		s.addr = netip.AddrPortFrom(addr, port)
	} else if s.addr, err = netip.ParseAddrPort(rest); err != nil || s.addr.Port() == 0 {
		return nil, fmt.Errorf("dnssec: DNS server %q is not an IP address with an optional port", text)
	}
	s.hostPort = s.addr.String()
	switch {
	case isTLS && name == "":
		s.tlsName = s.addr.Addr().WithZone("").String()
	case isTLS:
		s.tlsName = name
	case name != "":
		return nil, fmt.Errorf("dnssec: DNS server %q has a certificate name and no tls://", text)
	}
	return s, nil
}

// attempt is one try at one server.
type attempt struct {
	server *server
	stream bool // over TCP at once
}

// attempts returns the order in which servers are tried: those that work, then
// those that ailed a moment ago, then all once more over TCP, which gets
// through where large or fragmented datagrams do not. The last round is for
// servers that kept silent in the first.
func attempts(servers []*server, now time.Time) []attempt {
	ordered := slices.Clone(servers)
	slices.SortStableFunc(ordered, func(a, b *server) int {
		switch {
		case a.ails(now) == b.ails(now):
			return 0
		case b.ails(now):
			return -1
		default:
			return 1
		}
	})
	tries := make([]attempt, 0, 2*len(ordered))
	for _, stream := range []bool{false, true} {
		for _, s := range ordered {
			tries = append(tries, attempt{s, stream})
		}
	}
	return tries
}

// isLoopback reports whether no network lies between this host and the server.
func (s *server) isLoopback() bool { return s.addr.Addr().Unmap().IsLoopback() }
