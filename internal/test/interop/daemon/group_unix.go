//go:build unix

package daemon

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process the first of a group: servers fork, and all of
// what they forked has to end with them.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup and killGroup signal the group. It may be gone already.
func endGroup(cmd *exec.Cmd)  { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
