//go:build unix

package daemon

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes the process the leader of a new process group, because servers
// fork: everything that they started ends with them.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup and killGroup signal the group. It may be gone already.
func endGroup(cmd *exec.Cmd)  { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// Pause stops a process without ending it, so that its connections stay open
// and are not answered.
func Pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Resume continues a process that Pause has stopped.
func Resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
