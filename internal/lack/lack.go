// Package lack tells apart what this host lacks and what other hosts do wrong.
package lack

import (
	"errors"
	"syscall"
)

// Of reports whether err says that this host lacks files, ports or memory for a
// connection, or, by a method Busy that returns true, room for what was asked. The peer is
// then not the reason, and the same may succeed at once.
func Of(err error) bool {
	if err == nil {
		return false // without the allocation of errors.As
	}
	var busy interface{ Busy() bool }
	return errors.As(err, &busy) && busy.Busy() || Everywhere(err) ||
		isAny(err, syscall.EAGAIN, syscall.EADDRNOTAVAIL) // no port, or no address of the peer's family
}

// Everywhere reports whether err says that this host has no file or memory for any
// connection.
func Everywhere(err error) bool {
	return isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM)
}

func isAny(err error, list ...syscall.Errno) bool {
	for _, errno := range list {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
