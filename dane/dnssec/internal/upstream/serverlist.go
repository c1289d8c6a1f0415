package upstream

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// serverList is the servers of the configuration, or those of a file. The file is
// read again when it changes, as it does when a laptop or a container changes
// networks.
type serverList struct {
	file   string              // empty if the servers are fixed
	permit func(*Server) error // may be nil
	given  Options             // take precedence over those of the file

	mu      sync.Mutex
	servers []*Server
	inFile  Options     // those of the file
	seen    os.FileInfo // the file as it was read
	checked time.Time
	problem error // why the file cannot be used as it is now
}

// fileCheckTime is the least time between two checks of the file.
const fileCheckTime = 5 * time.Second

func newServerList(names []string, file string, permit func(*Server) error, given Options) (*serverList, error) {
	l := &serverList{permit: permit, given: given}
	if len(names) > 0 {
		servers, err := l.parse(names)
		l.servers = servers
		return l, err
	}
	if file == "" {
		file = "/etc/resolv.conf"
	}
	l.file = file
	servers, seen, err := l.read()
	l.servers, l.seen, l.checked = servers, seen, time.Now()
	return l, err
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
// state.
func (l *serverList) refresh() {
	now, err := os.Stat(l.file)
	if err != nil {
		l.problem, l.seen = fmt.Errorf("%q can no longer be read: %w", l.file, err), nil
		return
	}
	if l.seen != nil && os.SameFile(l.seen, now) && l.seen.Size() == now.Size() && l.seen.ModTime().Equal(now.ModTime()) {
		return
	}
	servers, seen, err := l.read()
	l.seen, l.problem = seen, err
	if err != nil {
		return
	}
	for i, s := range servers {
		same := func(old *Server) bool { return old.String() == s.String() }
		if at := slices.IndexFunc(l.servers, same); at >= 0 {
			servers[i] = l.servers[at]
		}
	}
	l.servers = servers
}

// read returns the servers of the file and the state of the file, which is nil if
// the file cannot be read.
func (l *serverList) read() ([]*Server, os.FileInfo, error) {
	const advice = "name servers in Config.Servers"
	f, err := os.Open(l.file)
	if err != nil {
		return nil, nil, fmt.Errorf("no DNS servers given and %q cannot be read: %w; %s", l.file, err, advice)
	}
	defer f.Close()
	seen, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("no DNS servers given and %q cannot be read: %w; %s", l.file, err, advice)
	}
	config, err := dns.ClientConfigFromReader(io.LimitReader(f, 1<<16))
	if err != nil {
		return nil, seen, fmt.Errorf("no DNS servers given and %q cannot be read: %w; %s", l.file, err, advice)
	}
	if len(config.Servers) == 0 {
		return nil, seen, fmt.Errorf("%q names no DNS server; add a nameserver line or %s", l.file, advice)
	}
	servers, err := l.parse(config.Servers)
	return servers, seen, err
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
			if err := l.permit(s); err != nil {
				return nil, err
			}
		}
		if !slices.ContainsFunc(servers, func(o *Server) bool { return o.String() == s.String() }) {
			servers = append(servers, s)
		}
	}
	return servers, nil
}
