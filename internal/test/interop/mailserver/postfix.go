// Package mailserver runs a real Postfix and a real nginx for tests, on free
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

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// An Entrance is one port of the Postfix with its own certificate.
type Entrance struct {
	Addr  string // its address in DNS
	Chain string // file with key and certificates; "" disables TLS
}

// A Postfix is a running Postfix that accepts mail for every domain.
type Postfix struct {
	box   string         // the Maildir of all messages
	Ports map[string]int // by Entrance.Addr, on 127.0.0.1
}

// StartPostfix starts an instance that is independent of the system's Postfix.
func StartPostfix(t testing.TB, entrances []Entrance) *Postfix {
	t.Helper()
	postfix := interop.Need(t, "postfix")
	interop.NeedThat(t, os.Geteuid() == 0, "only root can start a Postfix")
	dir := t.TempDir()
	// Postfix runs as another user, who must be able to read the directory.
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	config, queue, data := filepath.Join(dir, "etc"), filepath.Join(dir, "queue"), filepath.Join(dir, "data")
	mail := filepath.Join(dir, "mail")
	for _, d := range []string{config, queue, data, mail} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	giveTo(t, data, "postfix")
	nobody := giveTo(t, mail, "nobody")

	s := &Postfix{box: filepath.Join(mail, "box"), Ports: map[string]int{}}
	var master strings.Builder
	for _, e := range entrances {
		port := daemon.FreePort(t)
		s.Ports[e.Addr] = port
		fmt.Fprintf(&master, "127.0.0.1:%d inet n - n - - smtpd\n", port)
		if e.Chain == "" {
			master.WriteString("  -o smtpd_tls_security_level=none\n")
		} else {
			fmt.Fprintf(&master, "  -o smtpd_tls_security_level=may\n  -o smtpd_tls_chain_files=%s\n", e.Chain)
		}
	}
	master.WriteString(`cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`)
	dnsserver.WriteFile(t, filepath.Join(config, "master.cf"), master.String())
	dnsserver.WriteFile(t, filepath.Join(config, "main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %s
data_directory = %s
maillog_file = /dev/stdout
myhostname = postfix.example
inet_protocols = ipv4
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
virtual_mailbox_domains = static:all
virtual_mailbox_base = %s
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:%[4]s
virtual_gid_maps = static:%[5]s
`, queue, data, mail, nobody.Uid, nobody.Gid))
	daemon.Run(t, dir, postfix, "-c", config, "check")

	libexec := strings.TrimSpace(daemon.Run(t, dir, interop.Need(t, "postconf"), "-c", config, "-h", "daemon_directory"))
	daemon.Start(t, func() error {
		for _, port := range s.Ports {
			if err := connects(port); err != nil {
				return err
			}
		}
		return nil
	}, filepath.Join(libexec, "master"), "-c", config, "-d")
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
