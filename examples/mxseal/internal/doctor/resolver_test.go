package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy/policytest"
)

// to returns a dialer that connects to an address of this machine in place of another.
func to(t *testing.T, from, addr string) dialer {
	return func(ctx context.Context, network, asked string) (net.Conn, error) {
		if asked != from || network != "udp" {
			t.Errorf("%s %s is asked", network, asked)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

// Postfix gets DNSSEC only from a server that sets the AD bit.
func TestValidatesNeedsADBit(t *testing.T) {
	inet := policytest.New(t)
	right, without := inet.ListenResolver("127.0.0.1:0"), inet.ListenDNS("127.0.0.1:0")
	for _, test := range []struct {
		name, server, from, addr string
		fault                    policytest.DNSFault
		want                     string
	}{
		{"validates", "192.0.2.53", "192.0.2.53:53", right, nil, ""},
		{"IPv6", "2001:db8::53", "[2001:db8::53]:53", right, nil, ""},
		{"does not", "192.0.2.53", "192.0.2.53:53", without, nil, "it does not set the AD bit"},
		{"bogus", "192.0.2.53", "192.0.2.53:53", right, policytest.ServFail, "it answers SERVFAIL"},
		{"stripped", "192.0.2.53", "192.0.2.53:53", right, policytest.Strip, "it answers SERVFAIL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.fault != nil {
				defer inet.BreakDNS(test.fault, ".", dnssec.TypeNS)()
			}
			err := validates(t.Context(), to(t, test.from, test.addr), test.server)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	refused := errors.New("refused")
	if err := validates(t.Context(), func(context.Context, string, string) (net.Conn, error) { return nil, refused }, "192.0.2.53"); err != refused {
		t.Errorf("no connection: %v", err)
	}
}

// A server that is silent does not hold up the command.
func TestValidatesSilentServerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() {
			var octets [600]byte
			for {
				if _, err := theirs.Read(octets[:]); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		err := validates(t.Context(), func(context.Context, string, string) (net.Conn, error) { return ours, nil }, "192.0.2.53")
		if took := time.Since(began); err == nil || took > resolverTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// The servers are those that the C library asks.
func TestNameserversOfResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if found, err := nameservers(file); !errors.Is(err, fs.ErrNotExist) || !slices.Equal(found, []string{"127.0.0.1"}) {
		t.Errorf("without the file: %q, %v", found, err)
	}
	for text, want := range map[string][]string{
		"search example.org\nnameserver\n": {"127.0.0.1"},
		"nameserver 192.0.2.1\n#nameserver 192.0.2.9\nnameserver 2001:db8::2 x\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n": {"192.0.2.1", "2001:db8::2", "192.0.2.3"},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := nameservers(file); err != nil || !slices.Equal(found, want) {
			t.Errorf("%q: %q, %v", text, found, err)
		}
	}
}
