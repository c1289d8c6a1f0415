package delivery

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/policy"
)

const (
	// firstAddresses are those of a host that are tried before a worse host
	// (RFC 5321 section 5.1 asks for two at least).
	firstAddresses = 2
	// addressesPerHost bounds the addresses of a host that are tried.
	addressesPerHost = 4
)

// target is one address of a host, or a refused host without an address.
type target struct {
	host *policy.Host
	addr netip.Addr
	turn turn
	// fresh means that a session which a pool kept has ended: none that it keeps is
	// used.
	fresh bool
}

// isAt reports whether two targets are the same address of the same host.
func (t target) isAt(other target) bool {
	return t.host.Name == other.host.Name && t.addr == other.addr
}

// turn says when an address is tried. Addresses of the same turn are tried in the order
// of the plan.
type turn uint8

const (
	// firstTurn is for two addresses of each host, and for the refused hosts.
	firstTurn turn = iota
	// secondTurn is for the other addresses.
	secondTurn
	// afterReply is for addresses of hosts that have refused the mail at another
	// address by a reply.
	afterReply
	// stalledTurn is for addresses that stalled recently.
	stalledTurn
)

// order returns the addresses of hosts, which are in the order of preference, in the
// order in which to try them. A host whose addresses all stall then does not keep the
// mail from the next one.
func order(hosts []*policy.Host, stalled func(netip.Addr) bool) []target {
	var targets []target
	for _, host := range hosts {
		if host.Level == policy.Refused {
			targets = append(targets, target{host: host})
			continue
		}
		tried := 0
		for _, addr := range host.Addrs[:min(len(host.Addrs), addressesPerHost)] {
			t := target{host: host, addr: addr, turn: secondTurn}
			switch {
			case stalled(addr):
				t.turn = stalledTurn
			case tried < firstAddresses:
				tried++
				t.turn = firstTurn
			}
			targets = append(targets, t)
		}
	}
	slices.SortStableFunc(targets, byTurn)
	return targets
}

func byTurn(a, b target) int { return cmp.Compare(a.turn, b.turn) }

// putBack gives the other addresses of a host their turn after the hosts that were not
// asked yet.
func putBack(targets []target, host *policy.Host) {
	for i := range targets {
		if targets[i].host == host {
			targets[i].turn = max(targets[i].turn, afterReply)
		}
	}
	slices.SortStableFunc(targets, byTurn)
}

const (
	// stallMemory is how long an address that stalled is tried last.
	stallMemory = 10 * time.Minute
	// maxStalls bounds the addresses that are remembered.
	maxStalls = 4096
)

// stalls remembers addresses that did not answer in time. The zero value is
// empty and ready for use. It is safe for concurrent use.
type stalls struct {
	mu    sync.Mutex
	until map[netip.Addr]time.Time
}

// note remembers an address. When there are too many, those whose time is over are
// dropped, or else any.
func (s *stalls) note(addr netip.Addr) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = make(map[netip.Addr]time.Time)
	}
	for known, until := range s.until {
		if len(s.until) < maxStalls {
			break
		}
		if !now.Before(until) || len(s.until) >= maxStalls {
			delete(s.until, known)
		}
	}
	s.until[addr] = now.Add(stallMemory)
}

// Stalled returns the addresses of mail hosts that did not answer in time a short time ago,
// and until when they are tried last. There are at most 4096. It is for a status page; the
// map is the caller's.
func (d *Dialer) Stalled() map[netip.Addr]time.Time { return d.stalls.all() }

func (s *stalls) all() map[netip.Addr]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.until)
	maps.DeleteFunc(all, func(_ netip.Addr, until time.Time) bool { return !time.Now().Before(until) })
	return all
}

// recent reports whether an address stalled a short time ago.
func (s *stalls) recent(addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, known := s.until[addr]
	if known && !time.Now().Before(until) {
		delete(s.until, addr)
		return false
	}
	return known
}
