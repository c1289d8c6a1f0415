package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

// passedSockets are the sockets that systemd passes, by their FileDescriptorName.
type passedSockets map[string][]*os.File

// activated returns the sockets that systemd passes.
func activated() passedSockets {
	passed := passedSockets{}
	for _, file := range activation.Files(true) {
		passed[file.Name()] = append(passed[file.Name()], file)
	}
	return passed
}

// close closes the files. The listeners have copies.
func (p passedSockets) close() {
	for _, files := range p {
		for _, file := range files {
			file.Close()
		}
	}
}

// named returns the sockets with a name, at least one.
func (p passedSockets) named(name string) ([]*os.File, error) {
	if p[name] == nil {
		return nil, fmt.Errorf("systemd passes no socket with FileDescriptorName=%s", name)
	}
	return p[name], nil
}

// listen appends the listeners of an address.
func listen(all []net.Listener, a config.Address, passed passedSockets) ([]net.Listener, error) {
	switch a.Kind {
	case "systemd":
		files, err := passed.named(a.Where)
		for _, file := range files {
			l, err := net.FileListener(file)
			if err != nil {
				return all, fmt.Errorf("%s: %w", a, err)
			}
			all = append(all, l)
		}
		return all, err
	case "unix":
		l, err := atPath(a.Where, func() (net.Listener, error) { return net.Listen("unix", a.Where) }, "unix")
		if err != nil {
			return all, err
		}
		return append(all, l), nil
	default:
		l, err := net.Listen("tcp", a.Where)
		if err != nil {
			return all, err
		}
		return append(all, l), nil
	}
}

// listenPacket appends the sockets of an address for datagrams.
func listenPacket(all []net.PacketConn, a config.Address, passed passedSockets) ([]net.PacketConn, error) {
	switch a.Kind {
	case "systemd":
		files, err := passed.named(a.Where)
		for _, file := range files {
			c, err := net.FilePacketConn(file)
			if err != nil {
				return all, fmt.Errorf("%s: %w", a, err)
			}
			all = append(all, c)
		}
		return all, err
	case "unix":
		c, err := atPath(a.Where, func() (net.PacketConn, error) { return net.ListenPacket("unixgram", a.Where) }, "unixgram")
		if err != nil {
			return all, err
		}
		return append(all, c), nil
	default:
		return all, fmt.Errorf("%s is not an address for datagrams; use one that begins with unix: or systemd: instead", a)
	}
}

// atPath makes a socket in the file system. It replaces one that nobody listens at, and gives the socket to
// the group of its directory, which is how Postfix gets access.
func atPath[T interface{ Close() error }](path string, make func() (T, error), network string) (socket T, err error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&fs.ModeSocket == 0:
		return socket, fmt.Errorf("%s exists and is not a socket", path)
	case err == nil:
		conn, err := net.Dial(network, path)
		if err == nil {
			conn.Close()
			return socket, fmt.Errorf("another program listens at %s", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return socket, err
		}
		if err := os.Remove(path); err != nil {
			return socket, err
		}
	}
	if socket, err = make(); err != nil {
		return socket, err
	}
	err = giveToGroup(path)
	if err == nil {
		err = os.Chmod(path, 0o660)
	}
	if err != nil {
		socket.Close()
	}
	return socket, err
}
