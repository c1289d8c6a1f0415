package mailserver

import (
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// A Sender is a running Postfix that sends mail with DANE, as far as its resolver
// sets the AD bit.
type Sender struct {
	*daemon.Daemon
	// Queue is the queue directory, which is the root directory of its smtp(8), as in Debian.
	Queue string
	// Addr is where it takes mail.
	Addr  string
	group int // of its processes
}

// StartSender starts a Postfix that asks the DNS server at port 53 of an address of
// this machine, and connects to this port of mail hosts. Its smtp(8) has an
// /etc/resolv.conf of its own, in the queue directory. settings replace those of main.cf
// for it, as in "smtp_tls_security_level = may".
func StartSender(t testing.TB, nameserver string, port int, settings ...string) *Sender {
	t.Helper()
	return newInstance(t).startSender(t, nameserver, port, settings, "")
}

// StartRelaying starts a Postfix whose queue manager looks up in a table how to send mail, by smtp(8) or lmtp(8).
// Incoming mail does not depend on the table. settings are lines of main.cf.
func StartRelaying(t testing.TB, transport string, settings ...string) *Sender {
	t.Helper()
	return newInstance(t).startRelaying(t, transport, settings)
}

// StartRelaying14 is StartRelaying for the Postfix of Debian 14, which has REQUIRETLS. Its root directory is in the
// environment (MXSEAL_POSTFIX14); without it, the test is skipped. Clients get STARTTLS with the certificate of an
// Identity.
func StartRelaying14(t testing.TB, certificate Identity, transport string, settings ...string) *Sender {
	t.Helper()
	in := newUnpacked(t, "MXSEAL_POSTFIX14")
	chain, err := os.ReadFile(certificate.File(t))
	if err != nil {
		t.Fatal(err)
	}
	in.root.Write(t, "instance/chain.pem", string(chain))
	return in.startRelaying(t, transport, append(settings, "smtpd_tls_security_level = may", "smtpd_tls_chain_files = /instance/chain.pem"))
}

func (in *instance) startRelaying(t testing.TB, transport string, settings []string) *Sender {
	t.Helper()
	in.qmgr = "  -o rewrite_service_name=rewrite-out\nrewrite-out unix - - n - - trivial-rewrite\n  -o { transport_maps = " + transport + " }\n"
	return in.startSender(t, "127.0.0.1", 25, nil, "lmtp_tls_security_level = none\n"+strings.Join(settings, "\n")+"\n")
}

// StartSender13 is StartSender for the Postfix of Debian 13, which has TLS reports. Its root directory is in
// the environment (MXSEAL_POSTFIX13); without it, the test is skipped.
func StartSender13(t testing.TB, nameserver string, port int, settings ...string) *Sender {
	t.Helper()
	return newUnpacked(t, "MXSEAL_POSTFIX13").startSender(t, nameserver, port, settings, "")
}

// startSender adds more to main.cf.
func (in *instance) startSender(t testing.TB, nameserver string, port int, settings []string, more string) *Sender {
	t.Helper()
	if err := os.Mkdir(filepath.Join(in.queue, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	dnsserver.WriteFile(t, filepath.Join(in.queue, "etc", "resolv.conf"), "nameserver "+nameserver+"\noptions trust-ad\n")

	own := daemon.FreePort(t)
	var options strings.Builder
	for _, setting := range settings {
		options.WriteString("  -o { " + setting + " }\n")
	}
	in.write(t, fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\nsmtp unix - - y - - smtp\n%slmtp unix - - y - - lmtp\n", own, &options), fmt.Sprintf(`inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_tls_security_level = none
smtp_tcp_port = %d
smtp_host_lookup = dns
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
%s`, port, more))
	s := &Sender{Queue: in.queue, group: in.group(t), Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(own))}
	s.Daemon = in.start(t, func() error { return connects(own) })
	return s
}

// Send gives a message to the Postfix, which sends it later.
func (s *Sender) Send(t testing.TB, from, to, message string) {
	t.Helper()
	if err := smtp.SendMail(s.Addr, nil, from, []string{to}, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// SocketDir makes the directory for the sockets of mxseal in the queue directory, as its package does.
func (s *Sender) SocketDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(s.Queue, "mxseal")
	for _, err := range []error{os.Mkdir(dir, 0o750), os.Chown(dir, -1, s.group)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
