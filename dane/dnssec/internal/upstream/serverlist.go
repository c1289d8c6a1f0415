package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/resolvconf"
)

// serverList is the servers of the configuration, or those of a file. The file is
// read again when it changes, as it does when a laptop or a container changes
// networks.
type serverList struct {
	file   string        // empty if the servers are fixed
	permit Permit        // may be nil
	given  Options       // take precedence over those of the file
	turn   atomic.Uint64 // for Options.Rotate

	mu      sync.Mutex
	servers []*Server
	inFile  Options     // those of the file
	seen    os.FileInfo // the file as it was read
	checked time.Time
	problem error // why the file cannot be used as it is now
}

// defaultFile is that of resolv.conf(5). Windows has none.
const defaultFile = "/etc/resolv.conf"

// fileCheckTime is the least time between two checks of the file.
const fileCheckTime = 5 * time.Second

func newServerList(names []string, file string, permit Permit, given Options) (*serverList, error) {
	l := &serverList{permit: permit, given: given}
	if len(names) > 0 {
		servers, err := l.parse(names)
		l.servers = servers
		return l, err
	}
	l.file = file
	if file == "" {
		l.file = defaultFile
	}
	found, err := l.read()
	if err != nil {
		return l, unlisted(runtime.GOOS, file, err)
	}
	if !found.file.Listed {
		if err := found.add(localServer(), l.permit); err != nil {
			return l, err
		}
	}
	l.use(found)
	return l, nil
}

// unlisted returns the error if no servers are given and the file cannot be used.
func unlisted(system, file string, err error) error {
	if system == "windows" && file == "" {
		return errors.New("no DNS servers given, and Windows has no resolv.conf; " +
			"set Servers to the addresses that Get-DnsClientServerAddress shows, or to those of other recursive DNS servers")
	}
	return fmt.Errorf("no DNS servers given and %w; set Servers to the addresses of recursive DNS servers", err)
}

// localServer returns the server to ask if the file names none (resolv.conf(5)).
func localServer() *Server {
	return newServer(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53), "")
}

// list implements Client.Servers.
func (l *serverList) list() ([]*Server, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != "" && time.Since(l.checked) >= fileCheckTime {
		l.checked = time.Now()
		l.refresh()
	}
	return l.servers, l.problem
}

// options returns how the servers are asked, without zero values.
func (l *serverList) options() Options {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.given.over(l.inFile).over(defaults)
}

// only returns a list of one of the servers.
func (l *serverList) only(s *Server) *serverList {
	return &serverList{servers: []*Server{s}, given: l.options()}
}

// refresh reads the file if it has changed. Servers that stay in it keep their
// state. A file that names no server may be one that is being written.
func (l *serverList) refresh() {
	now, err := os.Stat(l.file)
	if err != nil {
		l.problem, l.seen = fmt.Errorf("older servers were asked: %q can no longer be read: %w", l.file, err), nil
		return
	}
	if l.seen != nil && os.SameFile(l.seen, now) && l.seen.Size() == now.Size() && l.seen.ModTime().Equal(now.ModTime()) {
		return
	}
	found, err := l.read()
	l.seen = now
	if why := l.revoked(found); why != nil {
		l.servers, l.problem = nil, fmt.Errorf("no server may be asked: %w", why)
		return
	}
	switch {
	case err != nil:
		l.problem = fmt.Errorf("older servers were asked: %w", err)
	case !found.file.Listed:
		l.problem = fmt.Errorf("older servers were asked: %q names no DNS server", l.file)
	default:
		l.use(found)
	}
}

// revoked returns why one of the servers must not be used any longer by what the file
// says now, or nil.
func (l *serverList) revoked(now *found) error {
	if l.permit == nil || now == nil {
		return nil
	}
	for _, s := range l.servers {
		if err := l.permit(s, now.file); err != nil {
			return err
		}
	}
	return nil
}

// found is what a file says.
type found struct {
	file    *resolvconf.File
	seen    os.FileInfo
	servers []*Server
}

// use takes over what the file says.
func (l *serverList) use(f *found) {
	for i, s := range f.servers {
		same := func(old *Server) bool { return old.String() == s.String() }
		if at := slices.IndexFunc(l.servers, same); at >= 0 {
			f.servers[i] = l.servers[at]
		}
	}
	l.servers, l.seen, l.checked, l.problem = f.servers, f.seen, time.Now(), nil
	l.inFile = Options{Timeout: f.file.Timeout, Attempts: f.file.Attempts, Rotate: f.file.Rotate, UseTCP: f.file.UseTCP}
	if len(f.file.Problems) > 0 {
		l.problem = fmt.Errorf("%q was read in part, correct it: %s", l.file, strings.Join(f.file.Problems, ", "))
	}
}

// read reads the file. If it was read and has no server that may be used, what it says
// is returned with the error.
func (l *serverList) read() (*found, error) {
	f, err := os.Open(l.file)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", l.file, err)
	}
	defer f.Close()
	seen, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", l.file, err)
	}
	file, err := resolvconf.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", l.file, err)
	}
	said := &found{file: file, seen: seen}
	for _, addr := range file.Servers {
		if err := said.add(newServer(addr, ""), l.permit); err != nil {
			return said, err
		}
	}
	if file.Listed && len(said.servers) == 0 {
		return said, fmt.Errorf("%q has no usable nameserver line: %s", l.file, strings.Join(file.Problems, ", "))
	}
	return said, nil
}

// add adds a server of the file.
func (f *found) add(s *Server, permit Permit) error {
	if permit != nil {
		if err := permit(s, f.file); err != nil {
			return err
		}
	}
	f.servers = append(f.servers, s)
	return nil
}

// parse reads server addresses, and drops duplicates.
func (l *serverList) parse(names []string) ([]*Server, error) {
	var servers []*Server
	for _, name := range names {
		s, err := ParseServer(name)
		if err != nil {
			return nil, err
		}
		if l.permit != nil {
			if err := l.permit(s, nil); err != nil {
				return nil, err
			}
		}
		if !slices.ContainsFunc(servers, func(o *Server) bool { return o.String() == s.String() }) {
			servers = append(servers, s)
		}
	}
	return servers, nil
}
