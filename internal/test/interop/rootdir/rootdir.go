// Package rootdir runs programs of other versions of Debian, in the root directories that .ci/unpack makes.
package rootdir

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
)

// Root is a root directory for chroot(8).
type Root string

// Named returns the directory that an environment variable names. Without it, the test is skipped, and the log says
// why.
func Named(t testing.TB, variable, what string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		interop.NotCompared(t, "%s does not name %s", variable, what)
		t.Skipf("%s does not name %s", variable, what)
	}
	return dir
}

// Copy returns a copy of the root directory that an environment variable names. Its files are those of the
// original: do not write to them, but replace them by Write. Without the variable, the test is skipped.
func Copy(t testing.TB, variable string) Root {
	t.Helper()
	original := Named(t, variable, "a root directory that .ci/unpack makes, as in .ci/run")
	if _, err := os.Stat(filepath.Join(original, "unpacked")); err != nil {
		t.Fatal(err)
	}
	interop.NeedThat(t, os.Geteuid() == 0, "only root can use chroot")
	// Beside the original, where hard links to its files are possible.
	dir, err := os.MkdirTemp(filepath.Dir(original), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if text, err := exec.Command("cp", "-a", "--link", original+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return Root(dir)
}

// Path returns the path of a file, for programs outside of the root directory.
func (r Root) Path(name string) string { return filepath.Join(string(r), name) }

// Command returns a command that runs within the root directory.
func (r Root) Command(program string, args ...string) *exec.Cmd {
	c := exec.Command("chroot", append([]string{string(r), program}, args...)...)
	c.Dir, c.Env = "/", []string{"PATH=/usr/sbin:/usr/bin"}
	return c
}

// Mkdir makes a directory, which belongs to a user and a group.
func (r Root) Mkdir(t testing.TB, name string, mode fs.FileMode, uid, gid int) {
	t.Helper()
	dir := r.Path(name)
	for _, err := range []error{os.MkdirAll(dir, 0o755), os.Chown(dir, uid, gid), os.Chmod(dir, mode)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Write writes a file that everyone may read.
func (r Root) Write(t testing.TB, name, text string) {
	t.Helper()
	path := r.Path(name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// AddUser adds a system user and a group with its name and number.
func (r Root) AddUser(t testing.TB, name string, id int) {
	t.Helper()
	for file, line := range map[string]string{
		"etc/passwd": fmt.Sprintf("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", name, id, id),
		"etc/group":  fmt.Sprintf("%s:x:%d:\n", name, id),
	} {
		text, err := os.ReadFile(r.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains("\n"+string(text), "\n"+name+":") {
			t.Fatalf("%s has %s", file, name)
		}
		r.Write(t, file, string(text)+line)
	}
}
