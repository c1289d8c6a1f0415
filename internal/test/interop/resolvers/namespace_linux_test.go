package resolvers

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
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
		network(t)
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

// The capabilities that resolvers need: CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN,
// CAP_NET_RAW and CAP_SYS_CHROOT.
var capabilities = []uintptr{8, 10, 12, 13, 18}

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

// isForbidden reports whether the namespace could not be made.
func isForbidden(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) &&
		slices.Contains([]syscall.Errno{syscall.EPERM, syscall.EINVAL, syscall.ENOSPC, syscall.EUSERS, syscall.ENOSYS}, errno)
}

// network sets the interfaces of a new namespace up. Besides the loopback interface there
// is one with an address, because systemd-resolved asks no server while the host seems to
// be offline.
func network(t *testing.T) {
	t.Helper()
	ip := interop.Need(t, "ip")
	for _, command := range []string{
		"link set lo up",
		"link add eth0 type veth peer name eth1",
		"address add 192.0.2.100/24 dev eth0",
		"link set eth0 up",
		"link set eth1 up",
	} {
		daemon.Run(t, "", ip, strings.Fields(command)...)
	}
}
