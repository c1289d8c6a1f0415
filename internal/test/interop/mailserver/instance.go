package mailserver

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
	"github.com/mxseal/mxseal/internal/test/interop/rootdir"
)

// instance is a Postfix that is independent of the system's.
type instance struct {
	postfix                  string       // the program
	root                     rootdir.Root // of its programs; "" means that of the system
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

// The user and groups that the Postfix of another root directory has.
const (
	unpackedUser     = 901
	unpackedPostdrop = 902
)

// newUnpacked makes the directories of an instance of another version of Debian, whose root directory an environment
// variable names. It has no shell, which the command that usually makes them needs.
func newUnpacked(t testing.TB, variable string) *instance {
	t.Helper()
	root := rootdir.Copy(t, variable)
	root.AddUser(t, "postfix", unpackedUser)
	root.AddUser(t, "postdrop", unpackedPostdrop)
	in := &instance{root: root, dir: root.Path("instance")}
	in.config, in.queue, in.data = filepath.Join(in.dir, "etc"), filepath.Join(in.dir, "queue"), filepath.Join(in.dir, "data")
	root.Mkdir(t, "instance/etc", 0o755, 0, 0)
	root.Write(t, "instance/log", "")
	root.Mkdir(t, "instance/data", 0o700, unpackedUser, unpackedUser)
	root.Mkdir(t, "instance/queue/pid", 0o755, 0, 0)
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		root.Mkdir(t, "instance/queue/"+name, 0o700, unpackedUser, 0)
	}
	root.Mkdir(t, "instance/queue/maildrop", 0o730, unpackedUser, unpackedPostdrop)
	root.Mkdir(t, "instance/queue/public", 0o710, unpackedUser, unpackedPostdrop)
	return in
}

// inside returns the name of a file as the programs see it.
func (in *instance) inside(path string) string { return strings.TrimPrefix(path, string(in.root)) }

// group returns the number of the group of the processes.
func (in *instance) group(t testing.TB) int {
	t.Helper()
	if in.root != "" {
		return unpackedUser
	}
	group, err := user.LookupGroup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(group.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// log returns the name of the file that the programs write their log to. Without /proc, they have no standard
// output.
func (in *instance) log() string {
	if in.root == "" {
		return "/dev/stdout"
	}
	return filepath.Join(in.dir, "log")
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
queue_directory = `+in.inside(in.queue)+`
data_directory = `+in.inside(in.data)+`
maillog_file = `+in.inside(in.log())+`
maillog_file_prefixes = `+filepath.Dir(in.inside(in.log()))+`
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
	if in.root != "" {
		master := in.root.Command("/usr/lib/postfix/sbin/master", "-c", in.inside(in.config), "-d")
		showLog := exec.Command("sh", append([]string{"-c", `tail -n +1 -F "$0" & exec "$@"`, in.log()}, master.Args...)...)
		showLog.Env = append(master.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
		return daemon.StartCommand(t, ready, showLog)
	}
	daemon.Run(t, in.dir, in.postfix, "-c", in.config, "check")
	libexec := strings.TrimSpace(daemon.Run(t, in.dir, interop.Need(t, "postconf"), "-c", in.config, "-h", "daemon_directory"))
	return daemon.Start(t, ready, filepath.Join(libexec, "master"), "-c", in.config, "-d")
}
