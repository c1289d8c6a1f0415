package dnsserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
)

// NSD serves the zones and returns the port on 127.0.0.1.
func NSD(t testing.TB, zones []*Zone) int {
	t.Helper()
	nsd := interop.Need(t, "nsd")
	dir, port := t.TempDir(), daemon.FreePort(t)
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
	ip-address: 127.0.0.1@%d
	username: ""
	chroot: ""
	zonesdir: %[2]q
	database: ""
	pidfile: "%[2]s/nsd.pid"
	xfrdfile: "%[2]s/xfrd.state"
	zonelistfile: "%[2]s/zone.list"
	xfrdir: %[2]q
	server-count: 1
	rrl-ratelimit: 0
	round-robin: no
remote-control:
	control-enable: no
`, port, dir)
	for i, zone := range zones {
		file := filepath.Join(dir, strconv.Itoa(i)+".zone")
		WriteFile(t, file, zone.Text())
		fmt.Fprintf(&conf, "zone:\n\tname: %q\n\tzonefile: %q\n", zone.Name, file)
	}
	config := filepath.Join(dir, "nsd.conf")
	WriteFile(t, config, conf.String())
	daemon.Start(t, answers(port, zones[0].Name), nsd, "-d", "-c", config)
	return port
}

// A Recursive is a running unbound.
type Recursive struct {
	*daemon.Daemon
	Port int // on 127.0.0.1
}

// RecursiveConfig configures an unbound. Without AnchorFile it does not
// validate.
type RecursiveConfig struct {
	// Authorities maps each zone to the port of its name server. It must
	// contain all zones, because the addresses in delegations are not used.
	Authorities map[string]int
	// Forward is the "address:port" of a resolver that is asked about everything
	// else, or "".
	Forward    string
	AnchorFile string
	// IP is the address to listen at, port 53. Default: a free port of 127.0.0.1.
	IP string
}

// Unbound starts a recursive resolver.
func Unbound(t testing.TB, c RecursiveConfig) *Recursive {
	t.Helper()
	unbound := interop.Need(t, "unbound")
	dir, ip, port := t.TempDir(), "127.0.0.1", daemon.FreePort(t)
	if c.IP != "" {
		ip, port = c.IP, 53
	}
	var conf strings.Builder
	conf.WriteString(UnboundClause(ip, port, dir, c.AnchorFile))
	conf.WriteString(`	do-not-query-address: 192.0.2.0/24
	val-log-level: 2
	ede: yes
	aggressive-nsec: no
	qname-minimisation: no
`)
	for zone, port := range c.Authorities {
		fmt.Fprintf(&conf, "stub-zone:\n\tname: %q\n\tstub-addr: 127.0.0.1@%d\n", zone, port)
	}
	if c.Forward != "" {
		host, port, err := net.SplitHostPort(c.Forward)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&conf, "forward-zone:\n\tname: \".\"\n\tforward-addr: %s@%s\n", host, port)
	}
	conf.WriteString("remote-control:\n\tcontrol-enable: no\n")
	config := filepath.Join(dir, "unbound.conf")
	WriteFile(t, config, conf.String())
	d := daemon.Start(t, answersAt(net.JoinHostPort(ip, strconv.Itoa(port)), "."), unbound, "-d", "-c", config)
	return &Recursive{Daemon: d, Port: port}
}

// UnboundClause returns the clause "server:" of the configuration of an unbound that one
// test uses: one thread, its files in dir, its log on standard error. Without anchorFile
// it does not validate. Its process ID is in dir/pid. More lines of the clause may
// follow.
func UnboundClause(ip string, port int, dir, anchorFile string) string {
	modules, anchor := "iterator", ""
	if anchorFile != "" {
		modules = "validator iterator"
		anchor = fmt.Sprintf("\ttrust-anchor-file: %q\n", anchorFile)
	}
	return fmt.Sprintf(`server:
	interface: %s@%d
	access-control: 127.0.0.0/8 allow
	do-not-query-localhost: no
	do-ip6: no
	do-daemonize: no
	use-syslog: no
	logfile: ""
	username: ""
	chroot: ""
	directory: %q
	pidfile: %q
	num-threads: 1
	trust-anchor-signaling: no
	module-config: %q
%s`, ip, port, dir, filepath.Join(dir, "pid"), modules, anchor)
}

// ControlClause returns the clause "remote-control:" of the configuration of an unbound,
// for Control.
func ControlClause(dir string) string {
	return fmt.Sprintf("remote-control:\n\tcontrol-enable: yes\n\tcontrol-interface: \"%s/control\"\n\tcontrol-use-cert: no\n", dir)
}

// Control sends a command to an unbound, like unbound-control.
func Control(t testing.TB, dir, command string) {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatalf("unbound control: %v", err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "UBCT1 %s\n", command)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "ok") {
		t.Fatalf("unbound control %s: %q, %v", command, answer, err)
	}
}

// answers returns a function that checks that the server answers for the zone.
func answers(port int, zone string) func() error {
	return answersAt(local(port), zone)
}

func answersAt(addr, zone string) func() error {
	query := new(dns.Msg).SetQuestion(zone, dns.TypeSOA)
	return func() error {
		reply, err := AskAt(addr, query)
		if err == nil && len(reply.Answer) == 0 {
			err = fmt.Errorf("no SOA of %q: %s", zone, dns.RcodeToString[reply.Rcode])
		}
		return err
	}
}

// Ask sends the query to 127.0.0.1 over UDP, and over TCP if the answer is
// truncated.
func Ask(port int, query *dns.Msg) (*dns.Msg, error) { return AskAt(local(port), query) }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// AskAt is like Ask, for a server at another address. A server that is busy, or drops the
// query because it is being configured, is asked again for a minute.
func AskAt(addr string, query *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Timeout: 5 * time.Second}
	var reply *dns.Msg
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if reply, _, err = client.Exchange(query, addr); err == nil && reply.Truncated {
			client.Net = "tcp"
			reply, _, err = client.Exchange(query, addr)
		}
		var failure net.Error
		if !errors.As(err, &failure) || !failure.Timeout() {
			break
		}
	}
	return reply, err
}

// WriteFile writes a file that a server can read.
func WriteFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
