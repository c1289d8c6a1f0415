package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// Address is where to listen: "inet:127.0.0.1:8642", "unix:/run/mxseal/policy.sock", or "systemd:NAME" for
// the sockets that systemd passes under this name.
type Address struct {
	// Kind is "inet", "unix" or "systemd".
	Kind string
	// Where is the address and port, the path, or the name.
	Where string
}

// UnmarshalText reads an address. Those of the network must be loopback addresses: there is no
// authentication.
func (a *Address) UnmarshalText(text []byte) error {
	kind, where, _ := strings.Cut(string(text), ":")
	switch kind {
	case "inet":
		at, err := netip.ParseAddrPort(where)
		if err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("%q is not inet: with a loopback address and a port, such as inet:127.0.0.1:8642; others could use it without authentication", text)
		}
	case "unix":
		if !strings.HasPrefix(where, "/") {
			return fmt.Errorf("%q is not unix: with an absolute path", text)
		}
	case "systemd":
		if where == "" {
			return fmt.Errorf("%q is not systemd: with the FileDescriptorName of a socket unit", text)
		}
	default:
		return fmt.Errorf("%q begins with none of inet:, unix: and systemd: as an address does", text)
	}
	*a = Address{kind, where}
	return nil
}

func (a Address) String() string { return a.Kind + ":" + a.Where }
