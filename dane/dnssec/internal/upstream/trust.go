package upstream

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mxseal/mxseal/dane/dnssec/internal/resolvconf"
)

// Trustworthy is the Permit of a client that trusts the AD bit. It refuses a server whose
// AD bit someone on the network can forge, and a server of a file whose author may not
// know where the AD bit comes from.
func Trustworthy(s *Server, file *resolvconf.File) error {
	switch {
	case !s.IsLoopback() && !s.IsTLS():
		return fmt.Errorf("the AD bit of DNS server %s can be forged on the network: "+
			"use a server on this host, \"tls://%s\", or a Validator", s, s.Addr())
	case file == nil:
		return nil
	case isForwarder(s.Addr()):
		return fmt.Errorf("DNS server %s is one of Docker or systemd-resolved, which may pass on the AD bit of any server: "+
			"name it in TrustingConfig.Servers if it validates, or use a Validator", s)
	case !file.TrustAD:
		return fmt.Errorf("DNS server %s comes from a file without \"options trust-ad\": "+
			"add the option or name the server in TrustingConfig.Servers if it validates, or use a Validator", s)
	default:
		return nil
	}
}

// HasSecureChannel reports whether nobody on the network can forge what the server says. One
// of Docker or systemd-resolved may pass on what others say.
func (s *Server) HasSecureChannel() bool { return s.isAuthenticated() && !isForwarder(s.Addr()) }

// isForwarder reports whether addr is one of Docker or systemd-resolved.
func isForwarder(addr netip.Addr) bool {
	a := addr.Unmap()
	return a.Is4() && slices.Contains([][4]byte{{127, 0, 0, 11}, {127, 0, 0, 53}, {127, 0, 0, 54}}, a.As4())
}
