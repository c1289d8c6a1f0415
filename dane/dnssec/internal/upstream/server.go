package upstream

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Server is a recursive DNS server.
type Server struct {
	addr     netip.AddrPort
	hostPort string // addr as text
	tlsName  string // name in its certificate if it is reached over TLS
	// vouchedAt is the time of the last call of VouchFor, in Unix nanoseconds.
	vouchedAt atomic.Int64
	// unanswered counts questions in a row that were answered over TCP and not over UDP.
	// blockedAt is when there were too many, in Unix nanoseconds.
	unanswered atomic.Int32
	blockedAt  atomic.Int64
	streams    pool // if it is reached over TLS
	health
	counts counts
}

// IsTLS reports whether the server is reached over TLS.
func (s *Server) IsTLS() bool { return s.tlsName != "" }

// Addr returns the address of the server.
func (s *Server) Addr() netip.Addr { return s.addr.Addr() }

// String returns the server in a form that ParseServer reads.
func (s *Server) String() string {
	if s.tlsName != "" {
		return "tls://" + s.hostPort + "#" + s.tlsName
	}
	return s.hostPort
}

// VouchFor notes that the server has shown that it validates.
func (s *Server) VouchFor(now time.Time) { s.vouchedAt.Store(now.UnixNano()) }

// IsVouchedFor reports whether it did so less than a time ago. If the clock was set back
// since then, it has to do so again.
func (s *Server) IsVouchedFor(now time.Time, d time.Duration) bool {
	at := s.vouchedAt.Load()
	since := now.Sub(time.Unix(0, at))
	return at != 0 && 0 <= since && since < d
}

// ParseServer reads "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]:53", and
// the same with "tls://" before it and "#name" after it.
func ParseServer(text string) (*Server, error) {
	rest, isTLS := strings.CutPrefix(text, "tls://")
	rest, name, _ := strings.Cut(rest, "#")
	port := uint16(53)
	if isTLS {
		port = 853
	}
	var at netip.AddrPort
	if addr, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		at = netip.AddrPortFrom(addr, port)
	} else if at, err = netip.ParseAddrPort(rest); err != nil || at.Port() == 0 {
		return nil, fmt.Errorf("DNS server %q is not an IP address with an optional port", text)
	}
	switch {
	case isTLS && name == "":
		name = at.Addr().WithZone("").String()
	case !isTLS && name != "":
		return nil, fmt.Errorf("DNS server %q has a certificate name and no tls://", text)
	}
	return newServer(at, name), nil
}

func newServer(addr netip.AddrPort, tlsName string) *Server {
	return &Server{addr: addr, hostPort: addr.String(), tlsName: tlsName}
}

// IsLoopback reports whether the server is on this host.
func (s *Server) IsLoopback() bool { return s.addr.Addr().Unmap().IsLoopback() }
