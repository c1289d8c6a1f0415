//go:build unix

package packaging

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/rootdir"
	"github.com/mxseal/mxseal/internal/test/logbuf"
)

// The packages are reproducible, the Debian package and the rpm have the same files, and the Debian package can
// be installed, used and purged.
func TestPackagesAreReproducibleAndInstall(t *testing.T) {
	root := rootdir.Named(t, "MXSEAL_INSTALL", "the root directory of a Debian system with Postfix, in which mxseal may be installed and purged")
	programs := t.TempDir()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-buildvcs=false", "-o", filepath.Join(programs, "mxseal-"+runtime.GOARCH), "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	first := makePackages(t, programs)
	t.Run("reproducible", func(t *testing.T) {
		again := filesBelow(t, makePackages(t, programs))
		if files := filesBelow(t, first); len(files) != 4 || !maps.EqualFunc(files, again, func(a, b file) bool { return a.digest == b.digest }) {
			t.Errorf("%v\n%v", files, again)
		}
	})
	deb := only(t, first, "*.deb")
	t.Run("the same files", func(t *testing.T) {
		unpacked, fromRPM := t.TempDir(), t.TempDir()
		run(t, "dpkg-deb", "-x", deb, unpacked)
		interop.Need(t, "rpm2cpio")
		interop.Need(t, "cpio")
		run(t, "sh", "-c", `rpm2cpio "$0" | (cd "$1" && cpio --quiet --no-absolute-filenames -idm 2>/dev/null)`, only(t, first, "*.rpm"), fromRPM)
		debian, rpm := filesBelow(t, unpacked), filesBelow(t, fromRPM)
		if len(debian) < 15 {
			t.Errorf("only %d files", len(debian))
		}
		for _, name := range slices.Sorted(maps.Keys(debian)) {
			if rpm[name] != debian[name] {
				t.Errorf("%s differs", name)
			}
		}
		if len(rpm) != len(debian) {
			t.Errorf("%d files in the rpm", len(rpm))
		}
		for name, want := range map[string]fs.FileMode{"usr/bin/mxseal": 0o755, "etc/mxseal.conf": 0o644, "usr/share/doc/mxseal/copyright": 0o644} {
			if debian[name].mode != want {
				t.Errorf("%s: %v", name, debian[name])
			}
		}
		if !strings.Contains(run(t, "dpkg-deb", "-I", deb, "conffiles"), "/etc/mxseal.conf") {
			t.Error("the configuration is not a conffile")
		}
		licenses, err := os.ReadFile(filepath.Join(unpacked, "usr/share/doc/mxseal/copyright"))
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range []string{"The Go standard library", "github.com/miekg/dns", "github.com/BurntSushi/toml"} {
			if _, text, _ := strings.Cut(string(licenses), "== "+module+"\n"); !strings.Contains(text[:min(len(text), 200)], "opyright") && !strings.Contains(text[:min(len(text), 200)], "License") {
				t.Errorf("no license of %s", module)
			}
		}
	})
	t.Run("installed", func(t *testing.T) { install(t, &system{t: t, root: root}, deb) })
}

// makePackages makes the packages, and returns their directory.
func makePackages(t *testing.T, programs string) string {
	t.Helper()
	dir := t.TempDir()
	command := exec.Command("../../../.ci/package", "v0.0.1-rc.1", dir, programs)
	command.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000", "TMPDIR="+t.TempDir())
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return dir
}

// file is what is compared of a file.
type file struct {
	mode   fs.FileMode
	digest [sha256.Size]byte
}

// filesBelow returns the files of a directory by their relative names.
func filesBelow(t *testing.T, dir string) map[string]file {
	t.Helper()
	all := map[string]file{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all[name] = file{info.Mode(), sha256.Sum256(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func only(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	text, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, text)
	}
	return string(text)
}

// system is a Debian system, or a tree with one.
type system struct {
	t    *testing.T
	root string
}

// path returns the path of a file of the system.
func (s *system) path(name string) string { return filepath.Join(s.root, name) }

// run runs a program of the system.
func (s *system) run(args ...string) string {
	s.t.Helper()
	return run(s.t, "chroot", append([]string{s.root}, args...)...)
}

func (s *system) exists(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

func (s *system) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// id returns the number of a user or group.
func (s *system) id(database, name string) int {
	s.t.Helper()
	var id int
	for line := range strings.Lines(s.read("etc/" + database)) {
		if fields := strings.Split(line, ":"); fields[0] == name {
			if _, err := fmt.Sscan(fields[2], &id); err != nil {
				s.t.Fatal(err)
			}
			return id
		}
	}
	s.t.Fatalf("%s has no %s", database, name)
	return 0
}

// unit returns the values of a key of an installed unit.
func (s *system) unit(name, key string) (values []string) {
	s.t.Helper()
	for line := range strings.Lines(s.read("usr/lib/systemd/system/" + name)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), key+"="); found {
			values = append(values, value)
		}
	}
	return values
}

const (
	service = "mxseal.service"
	enabled = "etc/systemd/system/multi-user.target.wants/mxseal.service"
)

var sockets = []string{"mxseal-policy.socket", "mxseal-inet.socket", "mxseal-tlsrpt.socket"}

// install installs the package, runs the daemon, and purges the package.
func install(t *testing.T, s *system, deb string) {
	if s.exists("etc/mxseal.conf") {
		t.Fatal("mxseal is installed already")
	}
	text, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("tmp/mxseal.deb"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(s.path("tmp/mxseal.deb"))
	defer func() { _ = exec.Command("chroot", s.root, "dpkg", "--purge", "mxseal").Run() }()
	s.run("dpkg", "-i", "/tmp/mxseal.deb")
	if version := s.run("dpkg-query", "-W", "-f", "${Version}", "mxseal"); version != "0.0.1~rc.1" {
		t.Errorf("version %s", version)
	}
	if !s.exists(enabled) {
		t.Error("the service is not enabled")
	}
	dir, err := os.Stat(s.path("var/spool/postfix/mxseal"))
	if err != nil {
		t.Fatal(err)
	}
	owner := dir.Sys().(*syscall.Stat_t)
	if want := (fs.ModeDir | fs.ModeSetgid | 0o755); dir.Mode() != want || int(owner.Uid) != s.id("passwd", "mxseal") || int(owner.Gid) != s.id("group", "postfix") {
		t.Errorf("%v, %d, %d", dir.Mode(), owner.Uid, owner.Gid)
	}
	s.run(append([]string{"systemd-analyze", "verify", "--man=no", "--recursive-errors=no", service}, sockets...)...)
	s.run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=13", service)

	// The administrator wants reports and the relay. A later installation keeps that.
	conf := strings.NewReplacer("#[", "[", "#contact", "contact", "#listen", "listen").Replace(s.read("etc/mxseal.conf")) +
		"[relay]\nlmtp = ['unix:/var/spool/postfix/mxseal/relay.sock']\n"
	if err := os.WriteFile(s.path("etc/mxseal.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run("dpkg", "-i", "/tmp/mxseal.deb")
	if s.read("etc/mxseal.conf") != conf {
		t.Error("an installation has changed the configuration")
	}
	s.run("mxseal", "serve", "-test", "-config", "/etc/mxseal.conf")
	useInstalled(t, s)

	s.run("dpkg", "--remove", "mxseal")
	if !s.exists("etc/mxseal.conf") || !s.exists("var/lib/mxseal/state.db") || s.exists("usr/bin/mxseal") {
		t.Error("removed: what is known is gone, or the program is not")
	}
	s.run("dpkg", "--purge", "mxseal")
	for _, name := range []string{"etc", "usr/lib/systemd", "usr/lib/tmpfiles.d", "usr/lib/sysusers.d", "usr/bin", "usr/share/doc", "var/lib", "var/spool/postfix"} {
		err := filepath.WalkDir(s.path(name), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && strings.Contains(entry.Name(), "mxseal") {
				t.Errorf("purged, and %s is still there", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// useInstalled does what systemd does with the installed units, what Postfix does with the sockets, and what
// an administrator does.
func useInstalled(t *testing.T, s *system) {
	user, group := s.id("passwd", "mxseal"), s.id("group", "mxseal")
	for parent, key := range map[string]string{"var/lib": "StateDirectory", "run": "RuntimeDirectory"} {
		for _, name := range s.unit(service, key) {
			dir := s.path(filepath.Join(parent, name))
			for _, err := range []error{os.MkdirAll(dir, 0o755), os.Chown(dir, user, group)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if parent == "run" {
				defer os.RemoveAll(dir)
			}
		}
	}
	var names []string
	var files []*os.File
	for _, unit := range sockets {
		for kind, network := range map[string]string{"ListenStream": "unix", "ListenDatagram": "unixgram"} {
			for _, where := range s.unit(unit, kind) {
				files = append(files, socketFile(t, s, network, where))
				names = append(names, s.unit(unit, "FileDescriptorName")...)
			}
		}
	}
	notify := s.path("run/mxseal-test-notify")
	heard, err := net.ListenPacket("unixgram", notify)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(notify)
	defer heard.Close()
	if err := os.Chmod(notify, 0o666); err != nil {
		t.Fatal(err)
	}
	// chroot does not change the number of the process.
	command := exec.Command("sh", "-c", `export LISTEN_PID=$$ WATCHDOG_PID=$$; exec chroot --userspec="$0:$1" "$2" `+s.unit(service, "ExecStart")[0],
		fmt.Sprint(user), fmt.Sprint(group), s.root)
	command.Env = append(os.Environ(), fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"), "NOTIFY_SOCKET=/run/mxseal-test-notify", "WATCHDOG_USEC=300000")
	command.ExtraFiles = files
	log := new(logbuf.Buffer)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		heard.Close()
	}()
	defer func() {
		_ = command.Process.Kill()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	told := func(want string) {
		t.Helper()
		buffer := make([]byte, 1000)
		for {
			n, _, err := heard.ReadFrom(buffer)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			if slices.Contains(strings.Split(string(buffer[:n]), "\n"), want) {
				return
			}
		}
	}
	told("READY=1")
	told("WATCHDOG=1")
	ask(t, s.path("var/spool/postfix/mxseal/policy.sock"))
	datagrams, err := net.Dial("unixgram", s.path("var/spool/postfix/mxseal/tlsrpt.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	fmt.Fprint(datagrams, `{"d":"example.org","policies":[{"policy-type":9,"policy-domain":"example.org","f":0}]}`)
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.path("run/mxseal/http.sock"))
	}}}
	await.Until(t, "the datagram is counted", func() bool {
		reply, err := web.Get("http://localhost/metrics")
		if err != nil {
			return false
		}
		defer reply.Body.Close()
		text, _ := io.ReadAll(reply.Body)
		return bytes.Contains(text, []byte("\nmxseal_tlsrpt_datagrams_total{result=\"ok\"} 1\n"))
	})
	relay, err := os.Stat(s.path("var/spool/postfix/mxseal/relay.sock"))
	if err != nil || int(relay.Sys().(*syscall.Stat_t).Gid) != s.id("group", "postfix") || relay.Mode().Perm() != 0o660 {
		t.Errorf("the socket of the relay: %v, %v", relay, err)
	}
	followDoctor(t, s)
	if err := command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told("RELOADING=1")
	told("READY=1")
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told("STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// socketFile makes a socket of a unit. A port is another one than in the unit.
func socketFile(t *testing.T, s *system, network, where string) *os.File {
	t.Helper()
	var socket interface {
		File() (*os.File, error)
		Close() error
	}
	var err error
	switch {
	case !strings.HasPrefix(where, "/"):
		socket, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	case network == "unix":
		var l *net.UnixListener
		l, err = net.ListenUnix(network, &net.UnixAddr{Name: s.path(where), Net: network})
		if err == nil {
			l.SetUnlinkOnClose(false)
		}
		socket = l
	default:
		socket, err = net.ListenUnixgram(network, &net.UnixAddr{Name: s.path(where), Net: network})
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		socket.Close()
	})
	return f
}

// ask asks the socketmap for a key that has no value.
func ask(t *testing.T, path string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "14:QUERY .example,")
	reply := make([]byte, len("9:NOTFOUND ,"))
	if _, err := io.ReadFull(bufio.NewReader(conn), reply); err != nil || string(reply) != "9:NOTFOUND ," {
		t.Errorf("%q, %v", reply, err)
	}
}

// followDoctor runs the commands that "mxseal doctor" prints, on a copy of the configuration of Postfix. After
// that, it knows no problem but the DNS servers of this machine, which no command can change.
func followDoctor(t *testing.T, s *system) {
	t.Helper()
	dir, err := os.MkdirTemp(s.path("tmp"), "postfix")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"main.cf", "master.cf"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s.read("etc/postfix/"+name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inside := strings.TrimPrefix(dir, strings.TrimSuffix(s.root, "/"))
	examine := func() string {
		text, _ := exec.Command("chroot", s.root, "mxseal", "doctor", "-postfix", inside).CombinedOutput() // its exit status is checked by its own tests
		return string(text)
	}
	before := examine()
	commands := 0
	for line := range strings.Lines(before) {
		if command, found := strings.CutPrefix(line, "  "); found {
			s.run("sh", "-c", command)
			commands++
		}
	}
	if !strings.Contains(before, "problem: Postfix does not ask mxseal\n") || commands == 0 {
		t.Errorf("doctor: %s", before)
	}
	text := examine()
	after := regexp.MustCompile(`(?m)^problem: the DNS server \S+ does not validate .*\n`).ReplaceAllString(text, "")
	if text == "" || strings.Contains(after, "problem: ") || strings.Contains(after, "mxseal: ") {
		t.Errorf("doctor, after its advice:\n%s", text)
	}
}
