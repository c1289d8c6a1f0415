//go:build unix

package serve

import (
	"os"
	"path/filepath"
	"syscall"
)

// giveToGroup gives a socket to the group of its directory.
func giveToGroup(path string) error {
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	return os.Chown(path, -1, int(dir.Sys().(*syscall.Stat_t).Gid))
}
