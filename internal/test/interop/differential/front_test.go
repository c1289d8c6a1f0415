package differential

import (
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// A front serves the current tree to one validator and records its queries and
// replies. It is used for all trees.
type front struct {
	addr string

	mu       sync.Mutex
	world    *world
	scenario *scenario // alters replies; can be nil
	log      []told
}

// told is a query to a front and its reply.
type told struct {
	question
	transport string
	altered   bool
}

// newFront serves on a free port of 127.0.0.1 over UDP and TCP until the test
// ends.
func newFront(t testing.TB) *front {
	t.Helper()
	packets, listener := dnsdata.Listen(t)
	f := &front{addr: listener.Addr().String()}
	for _, s := range []*dns.Server{
		{PacketConn: packets, Handler: f.handler("udp"), UDPSize: dns.MaxMsgSize},
		{Listener: listener, Handler: f.handler("tcp"), MaxTCPQueries: -1},
	} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe() // fails only after Shutdown
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return f
}

// serve sets the tree and the scenario, and clears the record.
func (f *front) serve(w *world, s *scenario) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.world, f.scenario, f.log = w, s, nil
}

// told returns the queries and replies since serve was called.
func (f *front) told() []told {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

func (f *front) handler(transport string) dns.Handler {
	return dns.HandlerFunc(func(conn dns.ResponseWriter, query *dns.Msg) {
		reply := f.reply(transport, query)
		if transport == "udp" {
			size := dns.MinMsgSize
			if opt := query.IsEdns0(); opt != nil {
				size = int(opt.UDPSize())
			}
			reply.Truncate(size)
		} else {
			reply.Compress = true
		}
		conn.WriteMsg(reply) // the client may have closed the connection
	})
}

// reply returns the reply to a query.
func (f *front) reply(transport string, query *dns.Msg) *dns.Msg {
	f.mu.Lock()
	w, s := f.world, f.scenario
	f.mu.Unlock()
	reply := w.reply(query)
	if len(query.Question) != 1 {
		return reply
	}
	q := told{question{dns.CanonicalName(query.Question[0].Name), query.Question[0].Qtype}, transport, false}
	if opt := query.IsEdns0(); s != nil && opt != nil && opt.Do() {
		q.altered = s.alter(q.question, transport, reply)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, q)
	return reply
}
