//go:build !unix

package daemon

import (
	"errors"
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

func endGroup(cmd *exec.Cmd)  { _ = cmd.Process.Kill() }
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// Pause returns an error, because this system cannot pause processes.
func Pause(*os.Process) error { return errors.ErrUnsupported }

// Resume returns an error, like Pause.
func Resume(*os.Process) error { return errors.ErrUnsupported }
