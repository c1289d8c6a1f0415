package mailserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// instance is a Postfix that is independent of the system's.
type instance struct {
	postfix                  string // the program
	dir, config, queue, data string
	// qmgr are options of the queue manager in master.cf.
	qmgr string
}

// newInstance makes the directories of an instance.
func newInstance(t testing.TB) *instance {
	t.Helper()
	in := &instance{postfix: interop.Need(t, "postfix"), dir: t.TempDir()}
	interop.NeedThat(t, os.Geteuid() == 0, "only root can start a Postfix")
	// Postfix runs as another user, who must be able to read the directory.
	if err := os.Chmod(filepath.Dir(in.dir), 0o711); err != nil {
		t.Fatal(err)
	}
	in.config, in.queue, in.data = filepath.Join(in.dir, "etc"), filepath.Join(in.dir, "queue"), filepath.Join(in.dir, "data")
	for _, d := range []string{in.config, in.queue, in.data} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	giveTo(t, in.data, "postfix")
	return in
}

// write writes the configuration. master and main are added to what every instance
// has.
func (in *instance) write(t testing.TB, master, main string) {
	t.Helper()
	dnsserver.WriteFile(t, filepath.Join(in.config, "master.cf"), master+`cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
`+in.qmgr+`tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`)
	dnsserver.WriteFile(t, filepath.Join(in.config, "main.cf"), `compatibility_level = 3.6
queue_directory = `+in.queue+`
data_directory = `+in.data+`
maillog_file = /dev/stdout
myhostname = postfix.example
inet_protocols = ipv4
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
`+main)
}

// start starts the instance.
func (in *instance) start(t testing.TB, ready func() error) *daemon.Daemon {
	t.Helper()
	daemon.Run(t, in.dir, in.postfix, "-c", in.config, "check")
	libexec := strings.TrimSpace(daemon.Run(t, in.dir, interop.Need(t, "postconf"), "-c", in.config, "-h", "daemon_directory"))
	return daemon.Start(t, ready, filepath.Join(libexec, "master"), "-c", in.config, "-d")
}
