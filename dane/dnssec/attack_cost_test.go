package dnssec

import (
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/internal/test/heapsize"
)

// recorder answers like the world and remembers the replies. From the second lookup
// on, the cost of a lookup does not include making them.
type recorder struct {
	w       *world
	mu      sync.Mutex
	replies map[string][]byte // by network and query without its ID
}

func (r *recorder) use(c *Config) {
	c.Dial = func(_ context.Context, network, _ string) (net.Conn, error) {
		return &recordedConn{recorder: r, network: network}, nil
	}
}

func (r *recorder) reply(network string, query []byte) []byte {
	key := network + string(query[2:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replies[key] == nil {
		r.replies[key] = r.w.serve("", network, query)[0]
	}
	return append(slices.Clone(query[:2]), r.replies[key][2:]...)
}

type recordedConn struct {
	floodConn
	recorder *recorder
	network  string
	unread   []byte
}

func (c *recordedConn) Write(b []byte) (int, error) {
	if c.network == "udp" {
		c.unread = c.recorder.reply(c.network, b)
		return len(b), nil
	}
	reply := c.recorder.reply(c.network, b[2:])
	c.unread = append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)
	return len(b), nil
}

func (c *recordedConn) Read(b []byte) (int, error) {
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// size returns how many replies are remembered.
func (r *recorder) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.replies)
}

// attacked builds the attack and returns a function that looks up its name with a
// new validator. It reports whether all replies were made earlier.
func attacked(tb testing.TB, a attack) func() bool {
	w := mail(tb)
	a.build(w, w.zones["example.com."])
	r := &recorder{w: w, replies: make(map[string][]byte)}
	lookup := func() bool {
		known := r.size()
		w.measure(w.validator(r.use), a.name, a.qtype)
		return r.size() == known
	}
	for range 5 { // questions in advance that were dropped may be sent the next time
		lookup()
	}
	return lookup
}

// maxAttackMemory bounds what one lookup may allocate in total under any of the
// attacks. The replies may have a megabyte, and small records unpack to several
// times their size.
const maxAttackMemory = 8 << 20

// SEC-67: the memory that an attack makes a lookup allocate is bounded.
func TestAttackAllocatesBoundedMemory(t *testing.T) { // not parallel with other tests
	for _, a := range shielded {
		lookup := attacked(t, a)
		var before, after runtime.MemStats
		for warm := false; !warm; { // a question that was always dropped in time may be sent now
			runtime.ReadMemStats(&before)
			warm = lookup()
			runtime.ReadMemStats(&after)
		}
		took := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d KiB", a.what, took>>10)
		if took > maxAttackMemory {
			t.Errorf("%s allocates %d octets, the bound is %d", a.what, took, maxAttackMemory)
		}
	}
}

// maxAttackHeld bounds what one lookup holds under any of the attacks until its end: the
// replies, and what it has made of them, with what the memory of the Validator keeps.
const maxAttackHeld = 2 << 20

// SEC-89: the memory that an attack makes a lookup hold is bounded, measured in the heap.
func TestAttackHoldsBoundedMemory(t *testing.T) { // not parallel with other tests
	for _, a := range shielded {
		w := mail(t)
		a.build(w, w.zones["example.com."])
		r := &recorder{w: w, replies: make(map[string][]byte)}
		w.measure(w.validator(r.use), a.name, a.qtype) // the replies of the server are made
		v := w.validator(r.use)
		q, err := newQuestion(a.name, Type(a.qtype))
		if err != nil {
			t.Fatal(err)
		}
		known := r.octets()
		before := heapsize.Used()
		l := v.newLookup(t.Context())
		l.run(q)
		w.settle()
		held := heapsize.Used() - before - int64(r.octets()-known)
		runtime.KeepAlive(l)
		runtime.KeepAlive(v)
		t.Logf("%s: %d KiB", a.what, held>>10)
		if held > maxAttackHeld {
			t.Errorf("%s holds %d octets, the bound is %d", a.what, held, maxAttackHeld)
		}
	}
}

// octets returns the size of the replies that are remembered.
func (r *recorder) octets() (sum int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for query, reply := range r.replies {
		sum += len(query) + len(reply)
	}
	return sum
}

// BenchmarkAttacks measures lookups under attack. The limits are 10 ms of one core
// and maxAttackMemory.
func BenchmarkAttacks(b *testing.B) {
	for _, a := range shielded {
		b.Run(a.what, func(b *testing.B) {
			lookup := attacked(b, a)
			b.ReportAllocs()
			for b.Loop() {
				lookup()
			}
		})
	}
}
