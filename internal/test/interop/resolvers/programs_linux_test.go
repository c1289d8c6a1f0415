package resolvers

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnstree"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// upstream is the recursive server that all resolvers forward to.
type upstream struct {
	tree *dnstree.Tree
	host string
	port string
	root []*dns.DS
}

func newUpstream(t *testing.T, tree *dnstree.Tree) *upstream {
	t.Helper()
	host, port, err := net.SplitHostPort(tree.Addr())
	if err != nil {
		t.Fatal(err)
	}
	up := &upstream{tree: tree, host: host, port: port}
	for line := range strings.Lines(tree.Anchors()) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		up.root = append(up.root, rr.(*dns.DS))
	}
	return up
}

// start starts a resolver at port 53 of the address.
type start func(t *testing.T, up *upstream, addr string)

// ready returns a function that checks that the resolver answers.
func ready(addr string) func() error {
	return func() error {
		reply, err := dnsserver.AskAt(net.JoinHostPort(addr, "53"), new(dns.Msg).SetQuestion("signed.example.", dns.TypeMX))
		if err == nil && len(reply.Answer) == 0 {
			err = fmt.Errorf("no MX of signed.example: %s", dns.RcodeToString[reply.Rcode])
		}
		return err
	}
}

func unbound(validates bool) start {
	return func(t *testing.T, up *upstream, addr string) {
		config := dnsserver.RecursiveConfig{Forward: up.tree.Addr(), IP: addr}
		if validates {
			config.AnchorFile = filepath.Join(t.TempDir(), "anchors")
			dnsserver.WriteFile(t, config.AnchorFile, up.tree.Anchors())
		}
		dnsserver.Unbound(t, config)
	}
}

// bind starts BIND with a value of the setting dnssec-validation, and further options.
func bind(validation string, options ...string) start {
	return func(t *testing.T, up *upstream, addr string) {
		dir := t.TempDir()
		var anchors strings.Builder
		for _, ds := range up.root {
			fmt.Fprintf(&anchors, "\t. static-ds %d %d %d %q;\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
		}
		config := filepath.Join(dir, "named.conf")
		dnsserver.WriteFile(t, config, fmt.Sprintf(`options {
	directory %[1]q;
	listen-on port 53 { %[2]s; };
	listen-on-v6 { none; };
	forwarders { %[3]s port %[4]s; };
	forward only;
	dnssec-validation %[5]s;
	allow-query { any; };
	pid-file none;
	session-keyfile none;
	%[7]s
};
controls { };
trust-anchors {
%[6]s};
`, dir, addr, up.host, up.port, validation, anchors.String(), strings.Join(options, "\n\t")))
		daemon.Start(t, ready(addr), "named", "-g", "-n", "1", "-c", config)
	}
}

// socketDir returns a temporary directory. The names of t.TempDir are too long for the sockets
// that some programs put there.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "resolver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// powerDNS starts PowerDNS Recursor with a value of the setting dnssec.
func powerDNS(dnssec string) start {
	return func(t *testing.T, up *upstream, addr string) {
		dir := socketDir(t)
		var anchors strings.Builder
		anchors.WriteString("clearTA()\n")
		for _, ds := range up.root {
			fmt.Fprintf(&anchors, "addTA('.', '%d %d %d %s')\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
		}
		dnsserver.WriteFile(t, filepath.Join(dir, "anchors.lua"), anchors.String())
		dnsserver.WriteFile(t, filepath.Join(dir, "recursor.conf"), fmt.Sprintf(`daemon=no
local-address=%[2]s
local-port=53
forward-zones-recurse=.=%[3]s
dont-query=
socket-dir=%[1]s
lua-config-file=%[1]s/anchors.lua
dnssec=%[4]s
threads=1
security-poll-suffix=
setuid=
setgid=
write-pid=no
`, dir, addr, up.tree.Addr(), dnssec))
		daemon.Start(t, ready(addr), "pdns_recursor", "--config-dir="+dir)
	}
}

// knot starts Knot Resolver with one of its policies for forwarding.
func knot(policy string) start {
	return func(t *testing.T, up *upstream, addr string) {
		dir := socketDir(t)
		var anchors strings.Builder
		for _, ds := range up.root {
			fmt.Fprintf(&anchors, "trust_anchors.add('. 3600 IN DS %d %d %d %s')\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
		}
		config := filepath.Join(dir, "kresd.conf")
		dnsserver.WriteFile(t, config, fmt.Sprintf(`net.listen('%s', 53)
net.ipv6 = false
modules.unload('priming')
modules.unload('ta_signal_query')
modules.unload('ta_update')
modules.unload('detect_time_skew')
cache.size = 10 * MB
trust_anchors.remove('.')
%spolicy.add(policy.all(policy.%s({'%s@%s'})))
`, addr, anchors.String(), policy, up.host, up.port))
		daemon.Start(t, ready(addr), "kresd", "-n", "-c", config, dir)
	}
}

func dnsmasq(options ...string) start {
	return func(t *testing.T, up *upstream, addr string) {
		args := []string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--log-facility=-", "--pid-file=",
			"--bind-interfaces", "--listen-address=" + addr, "--server=" + up.host + "#" + up.port}
		for _, ds := range up.root {
			args = append(args, fmt.Sprintf("--trust-anchor=.,%d,%d,%d,%s", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest))
		}
		daemon.Start(t, ready(addr), "dnsmasq", append(args, options...)...)
	}
}

// systemdResolved starts systemd-resolved with a value of the setting DNSSEC. It
// listens at 127.0.0.53 and 127.0.0.54. Its files are in a directory of its own,
// because it has no option for other paths, and the machine may have one that runs.
func systemdResolved(dnssec string) start {
	return func(t *testing.T, up *upstream, addr string) {
		program := interop.Need(t, "systemd-resolved")
		root := t.TempDir()
		for _, dir := range []string{"etc/systemd", "etc/dnssec-trust-anchors.d", "run/systemd/resolve"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range append(libraries(t, program), program) {
			copyFile(t, file, filepath.Join(root, file))
		}
		var anchors strings.Builder
		for _, ds := range up.root {
			fmt.Fprintf(&anchors, ". IN DS %d %d %d %s\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
		}
		dnsserver.WriteFile(t, filepath.Join(root, "etc/dnssec-trust-anchors.d/root.positive"), anchors.String())
		dnsserver.WriteFile(t, filepath.Join(root, "etc/systemd/resolved.conf"), fmt.Sprintf(`[Resolve]
DNS=%s
FallbackDNS=
Domains=~.
DNSSEC=%s
DNSStubListener=yes
LLMNR=no
MulticastDNS=no
`, up.tree.Addr(), dnssec))
		cmd := exec.Command(program)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		if os.Getuid() == 0 { // as root, it would look for a user of its own
			const nobody = 65534
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
			cmd.SysProcAttr.AmbientCaps = capabilities
			if err := os.Chown(filepath.Join(root, "run/systemd/resolve"), nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		daemon.StartCommand(t, ready(addr), cmd)
	}
}

// libraries returns the shared libraries of a program, by ldd(1).
func libraries(t *testing.T, program string) []string {
	t.Helper()
	var files []string
	for _, found := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(daemon.Run(t, "", "ldd", program), -1) {
		files = append(files, found[1])
	}
	return files
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}

// docker is a server like that of Docker at 127.0.0.11: it knows the names of
// containers, and passes other questions and replies on as they are, over the same
// transport.
func docker(t *testing.T, up *upstream, addr string) {
	containers := map[string]string{"db.": "172.18.0.2"}
	pass := func(network string) dns.Handler {
		client := dns.Client{Net: network, UDPSize: dns.MaxMsgSize}
		return dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
			reply := new(dns.Msg).SetReply(query)
			if ip := containers[query.Question[0].Name]; ip != "" && query.Question[0].Qtype == dns.TypeA {
				rr, err := dns.NewRR(query.Question[0].Name + " 600 IN A " + ip)
				if err != nil {
					t.Error(err)
					return
				}
				reply.RecursionAvailable, reply.Answer = true, []dns.RR{rr}
			} else if passed, _, err := client.Exchange(query, up.tree.Addr()); err == nil {
				reply = passed
			} else {
				reply.SetRcode(query, dns.RcodeServerFailure)
			}
			if opt := query.IsEdns0(); network == "udp" && reply.Len() > dns.MinMsgSize && (opt == nil || reply.Len() > int(opt.UDPSize())) {
				reply.Truncated, reply.Answer = true, nil
			}
			w.WriteMsg(reply) // the client may have closed the connection
		})
	}
	at := net.JoinHostPort(addr, "53")
	packets, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{
		{PacketConn: packets, Handler: pass("udp"), UDPSize: dns.MaxMsgSize},
		{Listener: listener, Handler: pass("tcp"), MaxTCPQueries: -1},
	} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe() // fails only after Shutdown
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
}
