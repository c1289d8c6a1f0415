package resolvers

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/mxseal/mxseal/internal/test/interop"
)

// insideVariable makes the test binary run a subtest inside the namespace.
const insideVariable = "MXSEAL_RESOLVERS_INSIDE"

// inside runs the test in a network namespace of its own. There, it returns true. Outside,
// it returns false after the test has run inside.
//
// A namespace belongs to a process, so the subtest runs in a child process. It needs the
// capability to make a network namespace, or else a user namespace, which has it.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		loopbackUp(t)
		return true
	}
	plain := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	const user = 1000 // not root, so that daemons keep their capabilities
	mapped := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: capabilities,
	}
	output, err := rerun(t, plain)
	if isForbidden(err) {
		output, err = rerun(t, mapped)
	}
	interop.NeedThat(t, !isForbidden(err), "it needs CAP_NET_ADMIN and CAP_SYS_ADMIN, or user namespaces, to make a network namespace: %v", err)
	if err != nil {
		t.Errorf("inside the namespace: %v\n%s", err, output)
	} else {
		t.Log(output)
	}
	return false
}

// The capabilities that resolvers need: CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW
// and CAP_SYS_CHROOT.
var capabilities = []uintptr{10, 12, 13, 18}

func rerun(t *testing.T, attr *syscall.SysProcAttr) (output string, err error) {
	parts := strings.Split(t.Name(), "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", strings.Join(parts, "/"))
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// isForbidden reports whether the process could not be started in the namespace.
func isForbidden(err error) bool {
	_, started := err.(*exec.ExitError)
	return err != nil && !started
}

// loopbackUp sets the only interface of a new namespace up.
func loopbackUp(t *testing.T) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(errno)
	}
}
