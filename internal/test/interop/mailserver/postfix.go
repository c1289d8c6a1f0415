// Package mailserver runs a real Postfix, Dovecot and nginx for tests, on free
// loopback ports and with their own certificates.
package mailserver

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop/daemon"
)

// An Entrance is one port of the Postfix with its own certificate.
type Entrance struct {
	Addr  string // its address in DNS; the lines of its log have it
	Chain string // file with key and certificates; "" disables TLS
	// Implicit means that TLS begins at once (RFC 8314), and not by STARTTLS.
	Implicit bool
	// Accounts are the only ones that may send mail; nil means that everyone may.
	Accounts *Accounts
	// Mechanism is the only mechanism of AUTH that is offered.
	Mechanism string
	// InClear means that AUTH is offered before TLS too.
	InClear bool
}

// options returns the options of the Postfix's smtpd.
func (e Entrance) options() string {
	var all strings.Builder
	set := func(format string, value any) { fmt.Fprintf(&all, "  -o "+format+"\n", value) }
	set("syslog_name=postfix/%s", e.Addr)
	if e.Chain == "" {
		set("smtpd_tls_security_level=%s", "none")
	} else {
		set("smtpd_tls_security_level=%s", "may")
		set("smtpd_tls_chain_files=%s", e.Chain)
	}
	if e.Implicit {
		set("smtpd_tls_wrappermode=%s", "yes")
	}
	if e.Accounts != nil {
		set("smtpd_sasl_auth_enable=%s", "yes")
		set("smtpd_sasl_type=%s", "dovecot")
		set("smtpd_sasl_path=%s", e.Accounts.socket)
		set("smtpd_sasl_mechanism_filter=%s", e.Mechanism)
		set("smtpd_recipient_restrictions=%s", "permit_sasl_authenticated,reject")
		if !e.InClear {
			set("smtpd_tls_auth_only=%s", "yes")
		}
	}
	return all.String()
}

// A Postfix is a running Postfix that accepts mail for every domain.
type Postfix struct {
	*daemon.Daemon
	box   string         // the Maildir of all messages
	Ports map[string]int // by Entrance.Addr, on 127.0.0.1
}

// StartPostfix starts an instance that is independent of the system's Postfix.
func StartPostfix(t testing.TB, entrances []Entrance) *Postfix {
	t.Helper()
	in := newInstance(t)
	mail := filepath.Join(in.dir, "mail")
	if err := os.Mkdir(mail, 0o755); err != nil {
		t.Fatal(err)
	}
	nobody := giveTo(t, mail, "nobody")

	s := &Postfix{box: filepath.Join(mail, "box"), Ports: map[string]int{}}
	var master strings.Builder
	for _, e := range entrances {
		port := daemon.FreePort(t)
		s.Ports[e.Addr] = port
		fmt.Fprintf(&master, "127.0.0.1:%d inet n - n - - smtpd\n%s", port, e.options())
	}
	master.WriteString("virtual unix - n n - - virtual\n")
	in.write(t, master.String(), fmt.Sprintf(`smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtpd_sasl_authenticated_header = yes
virtual_mailbox_domains = static:all
virtual_mailbox_base = %s
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:%s
virtual_gid_maps = static:%s
`, mail, nobody.Uid, nobody.Gid))
	s.Daemon = in.start(t, func() error {
		for _, port := range s.Ports {
			if err := connects(port); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

// giveTo makes a user the owner of the directory.
func giveTo(t testing.TB, dir, name string) *user.User {
	t.Helper()
	owner, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return owner
}

// Messages returns the messages that have arrived.
func (s *Postfix) Messages(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.box, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(text))
	}
	return messages
}

func connects(port int) error {
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}
