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
	// Group is the number of the group of its processes.
	Group int
	addr  string
}

// StartSender starts a Postfix that asks the DNS server at port 53 of an address of
// this machine, and connects to this port of mail hosts. Its smtp(8) has an
// /etc/resolv.conf of its own, in the queue directory. settings replace those of main.cf
// for it, as in "smtp_tls_security_level = may".
func StartSender(t testing.TB, nameserver string, port int, settings ...string) *Sender {
	t.Helper()
	return startSender(t, nameserver, port, settings, "")
}

// StartRelaying starts a Postfix that looks up in a table how to send mail, by smtp(8) or lmtp(8).
func StartRelaying(t testing.TB, transport string) *Sender {
	t.Helper()
	return startSender(t, "127.0.0.1", 25, nil, "transport_maps = "+transport+"\nlmtp_tls_security_level = none\n")
}

// StartSender13 is StartSender for the Postfix of Debian 13, which has TLS reports. Its root directory is in
// the environment (MXSEAL_POSTFIX13); without it, the test is skipped.
func StartSender13(t testing.TB, nameserver string, port int, settings ...string) *Sender {
	t.Helper()
	return newInstance13(t).startSender(t, nameserver, port, settings, "")
}

func startSender(t testing.TB, nameserver string, port int, settings []string, more string) *Sender {
	t.Helper()
	return newInstance(t).startSender(t, nameserver, port, settings, more)
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
	s := &Sender{Queue: in.queue, Group: in.group(t), addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(own))}
	s.Daemon = in.start(t, func() error { return connects(own) })
	return s
}

// Send gives a message to the Postfix, which sends it later.
func (s *Sender) Send(t testing.TB, from, to, message string) {
	t.Helper()
	if err := smtp.SendMail(s.addr, nil, from, []string{to}, []byte(message)); err != nil {
		t.Fatal(err)
	}
}
