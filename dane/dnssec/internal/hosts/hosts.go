// Package hosts reads hosts(5), the addresses that the administrator of this host gives to
// names.
package hosts

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// File is a hosts file. It is read again when it changes. It is safe for concurrent use.
type File struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	addrs   map[string][]netip.Addr // by canonical name
	seen    os.FileInfo             // the file as it was read
	checked time.Time
}

// Open reads the file at path for the first time.
func Open(path string, now func() time.Time) (*File, error) {
	f := &File{path: path, now: now, checked: now()}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("hosts file %w", err)
	}
	return f, nil
}

// checkTime is the least time between two checks of the file.
const checkTime = 5 * time.Second

// Lookup returns the addresses of a canonical name, of both families. ok is false if the
// file does not have the name. If the file can no longer be read, what it said last counts.
func (f *File) Lookup(name string) (addrs []netip.Addr, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.checked).Abs() >= checkTime {
		f.checked = now
		if info, err := os.Stat(f.path); err == nil && !isSame(f.seen, info) {
			_ = f.read() // the file may be one that is being replaced
		}
	}
	addrs, ok = f.addrs[name]
	return addrs, ok
}

func isSame(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (f *File) read() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	seen, err := file.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxOctets+1))
	if err != nil {
		return err
	}
	if len(text) > maxOctets {
		return fmt.Errorf("%s is longer than %d octets: name the hosts in a private zone instead", f.path, maxOctets)
	}
	f.addrs, f.seen = parse(string(text)), seen
	return nil
}

// maxOctets bounds the file. Lists of blocked names, which some files have, are longer.
const maxOctets = 1 << 20

// parse reads the lines: an address, and its names. Lines and names that are malformed do
// not count, as in the C library.
func parse(text string) map[string][]netip.Addr {
	addrs := make(map[string][]netip.Addr)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || addr.Zone() != "" {
			continue
		}
		for _, field := range fields[1:] {
			name, ok := proof.CanonicalName(field)
			if ok && !slices.Contains(addrs[name], addr.Unmap()) {
				addrs[name] = append(addrs[name], addr.Unmap())
			}
		}
	}
	return addrs
}
