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
	addr   string
	stop   []func() error
	done   chan struct{} // closed by Close
	closed sync.Once
}

// Start serves the tree on a free port of 127.0.0.1, over UDP and TCP, until
// Close is called.
func (t *Tree) Start() error {
	packets, listener, err := listen()
	if err != nil {
		return fmt.Errorf("dnstree: %w", err)
	}
	t.server.addr = listener.Addr().String()
	for _, s := range []*dns.Server{
		{PacketConn: packets, Handler: t.handler("udp"), UDPSize: dns.MaxMsgSize},
		{Listener: listener, Handler: t.handler("tcp"), MaxTCPQueries: -1},
	} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe() // fails only after Shutdown
		<-started
		t.server.stop = append(t.server.stop, s.Shutdown)
	}
	return nil
}

// listen opens the same free port for UDP and TCP.
func listen() (packets net.PacketConn, listener net.Listener, err error) {
	for range 16 { // another process may hold the UDP port of a free TCP port
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
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

func (t *Tree) handler(transport string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := t.serve(transport, query)
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
	if len(query.Question) != 1 || query.Opcode != dns.OpcodeQuery || query.Question[0].Qclass != dns.ClassINET {
		return pack(new(dns.Msg).SetRcode(query, dns.RcodeNotImplemented))
	}
	asked := query.Question[0]
	q := Query{Name: canonical(asked.Name), Type: asked.Qtype, Transport: transport, CD: query.CheckingDisabled}
	if opt := query.IsEdns0(); opt != nil {
		q.DO = opt.Do()
	}

	t.mu.Lock()
	round := t.log.begin(q)
	wait := t.delay(q)
	t.mu.Unlock()
	if !t.sleep(wait) {
		return nil
	}

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
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.end(round)
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
