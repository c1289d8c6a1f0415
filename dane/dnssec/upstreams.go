package dnssec

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// upstreams are the servers to ask: those of the configuration, or those of a
// file, which is read again when it changes, as happens when a laptop or a
// container changes networks.
type upstreams struct {
	file   string              // empty if the servers are fixed
	permit func(*server) error // says why a server must not be asked

	mu      sync.Mutex
	servers []*server
	seen    os.FileInfo // the file as it was read
	checked time.Time
	problem error // why the file cannot be used as it is now
}

// fileCheckTime is how often the file is looked at, when there are lookups.
const fileCheckTime = 5 * time.Second

func newUpstreams(names []string, file string, permit func(*server) error) (*upstreams, error) {
	u := &upstreams{permit: permit}
	if len(names) > 0 {
		servers, err := u.parse(names)
		u.servers = servers
		return u, err
	}
	if file == "" {
		file = "/etc/resolv.conf"
	}
	u.file = file
	servers, seen, err := u.read()
	u.servers, u.seen, u.checked = servers, seen, time.Now()
	return u, err
}

// list returns the servers, which must not be changed. A file that has become
// unusable leaves them as they are; the error says so.
func (u *upstreams) list() ([]*server, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file != "" && time.Since(u.checked) >= fileCheckTime {
		u.checked = time.Now()
		u.refresh()
	}
	return u.servers, u.problem
}

// refresh reads the file if it is another than before. Servers that stay keep
// what is known about them.
func (u *upstreams) refresh() {
	now, err := os.Stat(u.file)
	if err != nil {
		u.problem, u.seen = fmt.Errorf("%q cannot be read any more: %w", u.file, err), nil
		return
	}
	if u.seen != nil && os.SameFile(u.seen, now) && u.seen.Size() == now.Size() && u.seen.ModTime().Equal(now.ModTime()) {
		return
	}
	servers, seen, err := u.read()
	u.seen, u.problem = seen, err
	if err != nil {
		return
	}
	for i, s := range servers {
		same := func(old *server) bool { return old.String() == s.String() }
		if at := slices.IndexFunc(u.servers, same); at >= 0 {
			servers[i] = u.servers[at]
		}
	}
	u.servers = servers
}

// read returns the servers of the file, and the file's state, which is nil if
// it cannot be read.
func (u *upstreams) read() ([]*server, os.FileInfo, error) {
	const advice = "name servers in Config.Servers"
	f, err := os.Open(u.file)
	if err != nil {
		return nil, nil, fmt.Errorf("dnssec: no DNS servers given and %q cannot be read: %w; %s", u.file, err, advice)
	}
	defer f.Close()
	seen, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("dnssec: no DNS servers given and %q cannot be read: %w; %s", u.file, err, advice)
	}
	config, err := dns.ClientConfigFromReader(io.LimitReader(f, 1<<16))
	if err != nil {
		return nil, seen, fmt.Errorf("dnssec: no DNS servers given and %q cannot be read: %w; %s", u.file, err, advice)
	}
	if len(config.Servers) == 0 {
		return nil, seen, fmt.Errorf("dnssec: %q names no DNS server; add a nameserver line or %s", u.file, advice)
	}
	servers, err := u.parse(config.Servers)
	return servers, seen, err
}

// parse reads server addresses and drops duplicates.
func (u *upstreams) parse(names []string) ([]*server, error) {
	var servers []*server
	for _, name := range names {
		s, err := parseServer(name)
		if err != nil {
			return nil, err
		}
		if u.permit != nil {
			if err := u.permit(s); err != nil {
				return nil, err
			}
		}
		if !slices.ContainsFunc(servers, func(o *server) bool { return o.String() == s.String() }) {
			servers = append(servers, s)
		}
	}
	return servers, nil
}
