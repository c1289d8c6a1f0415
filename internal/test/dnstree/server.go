package dnstree

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// server is the network server of a tree.
type server struct {
	addr   string        // of Start
	done   chan struct{} // closed by Close
	closed sync.Once

	mu   sync.Mutex
	stop []func() error
}

// Start serves the tree on a free port of 127.0.0.1, over UDP and TCP, until
// Close is called.
func (t *Tree) Start() (err error) {
	t.server.addr, err = t.Listen("127.0.0.1:0")
	return err
}

// Listen also serves the tree at addr, over UDP and TCP, until Close is called.
// If the port is 0, it takes a free one. It returns the address.
func (t *Tree) Listen(addr string) (string, error) { return t.listen(addr, t.serve) }

// ListenResolver is like Listen, for a resolver between the tree and its clients.
// The queries at addr are neither counted nor delayed. resolve gets each reply,
// after the faults, and returns what the resolver makes of it.
func (t *Tree) ListenResolver(addr string, resolve Fault) (string, error) {
	return t.listen(addr, func(transport string, query *dns.Msg) []byte {
		q, ok := parseQuery(transport, query)
		if !ok {
			return notImplemented(query)
		}
		reply := t.answer(query, q)
		if reply == nil {
			return nil
		}
		return resolve(q, reply)
	})
}

func (t *Tree) listen(addr string, serve func(transport string, query *dns.Msg) []byte) (string, error) {
	packets, listener, err := listen(addr)
	if err != nil {
		return "", fmt.Errorf("dnstree: %w", err)
	}
	for _, s := range []*dns.Server{
		{PacketConn: packets, Handler: handler("udp", serve), UDPSize: dns.MaxMsgSize},
		{Listener: listener, Handler: handler("tcp", serve), MaxTCPQueries: -1},
	} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe() // fails only after Shutdown
		<-started
		t.server.mu.Lock()
		t.server.stop = append(t.server.stop, s.Shutdown)
		t.server.mu.Unlock()
	}
	return listener.Addr().String(), nil
}

// listen opens the same port for UDP and TCP.
func listen(addr string) (packets net.PacketConn, listener net.Listener, err error) {
	for range 16 { // another process may hold the UDP port of a free TCP port
		if listener, err = net.Listen("tcp", addr); err != nil {
			return nil, nil, err
		}
		if packets, err = net.ListenPacket("udp", listener.Addr().String()); err == nil {
			return packets, listener, nil
		}
		listener.Close()
	}
	return nil, nil, err
}

// Addr returns the address of the server, such as "127.0.0.1:41053". The tree
// must have been started.
func (t *Tree) Addr() string { return t.server.addr }

// Close stops the server and waits for its goroutines. Delayed replies are
// dropped. It can be called more than once.
func (t *Tree) Close() {
	t.server.closed.Do(func() {
		close(t.server.done)
		t.server.mu.Lock()
		defer t.server.mu.Unlock()
		for _, stop := range t.server.stop {
			stop()
		}
	})
}

// Exchange answers a query without the network. It returns nil if the server
// would not reply, or would not reply with a DNS message.
func (t *Tree) Exchange(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	if wire := t.serve("", query); wire == nil || reply.Unpack(wire) != nil {
		return nil
	}
	return reply
}

func handler(transport string, serve func(transport string, query *dns.Msg) []byte) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := serve(transport, query)
		if reply == nil {
			return
		}
		if transport == "udp" {
			reply = cut(reply, udpSize(query))
		}
		w.Write(reply) // the client may have closed the connection
	})
}

// cut truncates a reply to the size that the client accepts over UDP.
func cut(reply []byte, size int) []byte {
	msg := new(dns.Msg)
	if len(reply) <= size || msg.Unpack(reply) != nil {
		return reply
	}
	msg.Truncate(size)
	return pack(msg)
}

func udpSize(query *dns.Msg) int {
	if opt := query.IsEdns0(); opt != nil {
		return int(opt.UDPSize())
	}
	return dns.MinMsgSize
}

// serve records a query, delays it according to Slow, and returns the reply.
func (t *Tree) serve(transport string, query *dns.Msg) []byte {
	q, ok := parseQuery(transport, query)
	if !ok {
		return notImplemented(query)
	}
	t.mu.Lock()
	round := t.log.begin(q)
	wait := t.delay(q)
	t.mu.Unlock()
	if !t.sleep(wait) {
		return nil
	}

	wire := t.answer(query, q)
	if wire == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.end(round)
	return wire
}

// parseQuery returns a query. ok is false if the server does not answer its kind.
func parseQuery(transport string, query *dns.Msg) (q Query, ok bool) {
	if len(query.Question) != 1 || query.Opcode != dns.OpcodeQuery || query.Question[0].Qclass != dns.ClassINET {
		return Query{}, false
	}
	asked := query.Question[0]
	q = Query{Name: canonical(asked.Name), Type: asked.Qtype, Transport: transport,
		CD: query.CheckingDisabled, AD: query.AuthenticatedData}
	if opt := query.IsEdns0(); opt != nil {
		q.DO = opt.Do()
	}
	return q, true
}

func notImplemented(query *dns.Msg) []byte {
	return pack(new(dns.Msg).SetRcode(query, dns.RcodeNotImplemented))
}

// answer returns the reply to a query, after the faults.
func (t *Tree) answer(query *dns.Msg, q Query) []byte {
	t.mu.Lock()
	reply := t.reply(query, q)
	faults := slices.DeleteFunc(slices.Clone(t.faults), func(f *fault) bool { return !f.where(q) })
	t.mu.Unlock()
	wire := pack(reply.Copy()) // packing modifies the records, which are shared
	for _, f := range faults {
		if wire = f.apply(q, wire); wire == nil {
			return nil
		}
	}
	return wire
}

func (t *Tree) delay(q Query) (sum time.Duration) {
	for _, d := range t.delays {
		if d.where(q) {
			sum += d.by
		}
	}
	return sum
}

// sleep waits for d. It reports false if the tree is closed.
func (t *Tree) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.server.done:
		return false
	}
}

// reply answers a query. The records in the reply are shared.
func (t *Tree) reply(query *dns.Msg, q Query) *dns.Msg {
	r := t.resolve(q.Name, q.Type)
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	reply.Rcode, reply.Answer, reply.Ns = r.rcode, r.answer, r.authority
	reply.AuthenticatedData = t.adBit && r.secure && r.rcode != dns.RcodeServerFailure &&
		(q.DO || query.AuthenticatedData)
	if !q.DO {
		hide := func(rr dns.RR) bool { return isDNSSEC(rr, q.Type) }
		reply.Answer = slices.DeleteFunc(slices.Clone(reply.Answer), hide)
		reply.Ns = slices.DeleteFunc(slices.Clone(reply.Ns), hide)
	}
	if query.IsEdns0() != nil {
		reply.SetEdns0(dns.DefaultMsgSize, q.DO)
	}
	return reply
}
