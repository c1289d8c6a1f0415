//go:build unix

package serve

import (
	"os"
	"path/filepath"
	"syscall"
)

// giveToGroup gives a socket to the group of its directory. In a directory with the set-group-ID bit, it has
// that group, which a daemon in a user namespace of its own cannot name.
func giveToGroup(path string) error {
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	socket, err := os.Stat(path)
	if err != nil {
		return err
	}
	group := dir.Sys().(*syscall.Stat_t).Gid
	if socket.Sys().(*syscall.Stat_t).Gid == group {
		return nil
	}
	return os.Chown(path, -1, int(group))
}
