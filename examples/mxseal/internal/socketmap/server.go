// Package socketmap is a server for the socketmap protocol of Postfix and sendmail: a netstring
// with the name of a map and a key is answered by a netstring with a status and a text
// (socketmap_table(5)).
package socketmap

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/accept"
	"github.com/mxseal/mxseal/internal/names"
)

const (
	// maxRequest bounds a request in octets. A key of Postfix is a domain or an address.
	maxRequest = 10_000
	// maxReply bounds a reply in octets. Postfix refuses a longer one, and then reads its rest as the next.
	maxReply = 100_000
	// MaxConnections is how many connections may be open. Each smtp(8) process has one. When there are more,
	// the one that has been idle for the longest time is closed, or else the one that has waited for its answer
	// for the longest time.
	MaxConnections = 4096
	// timeToAsk and timeToAnswer are how long a client keeps its place in any case. Most take less.
	timeToAsk    = 50 * time.Millisecond
	timeToAnswer = time.Second
	// idleTimeout is longer than the 100 seconds for which Postfix keeps a connection.
	idleTimeout = 5 * time.Minute
	// writeTimeout is that of Postfix for a reply.
	writeTimeout = 100 * time.Second
	// lastWord is how long a client may take for the replies when answers have been abandoned.
	lastWord = time.Second
	// crowdedPause is the time between two lines of the log about too many connections.
	crowdedPause = time.Minute
	// bufferSize is enough for a usual request and reply.
	bufferSize = 2048
)

// Reply is the answer of a map. The zero value is Temporary.
type Reply struct {
	Status Status
	// Text is the value for Found, and the reason for Temporary and Permanent.
	Text string
}

// Reason returns why there is no answer; empty if there is one.
func (r Reply) Reason() string {
	if r.Status == Temporary || r.Status == Permanent {
		return r.Text
	}
	return ""
}

// Status is the first word of a reply.
type Status uint8

const (
	// Temporary means that the client asks again later.
	Temporary Status = iota
	// Permanent means that the request is wrong. Postfix treats it like Temporary.
	Permanent
	// NotFound means that the map has no value.
	NotFound
	// Found means that Text is the value.
	Found
)

var words = [...]string{Temporary: "TEMP ", Permanent: "PERM ", NotFound: "NOTFOUND ", Found: "OK "}

// Map returns the value of a key. It has to bound its own time: the server sets no deadline. ctx is done when nobody
// waits for the answer any more, with the cause ErrCrowded if the client lost its place.
type Map func(ctx context.Context, key string) Reply

// ErrCrowded is the cause if the client of a request lost its place because there were too many. It may ask again.
var ErrCrowded = errors.New("socketmap: there are too many connections")

// Server answers requests. Make one with New. It is safe for concurrent use.
type Server struct {
	maps map[string]Map
	log  *slog.Logger

	clients *accept.Taker
	working context.Context // done when answers must end
	abandon context.CancelFunc

	mu      sync.Mutex
	open    map[*client]struct{}
	crowded time.Time // when the log last had that there are too many
}

// New returns a server for maps, whose names may be asked for in any case. The name "*" is for
// all other names.
func New(maps map[string]Map, logger *slog.Logger) *Server {
	s := &Server{maps: make(map[string]Map, len(maps)), log: logger, open: make(map[*client]struct{})}
	s.clients = accept.New(accept.Config{Most: MaxConnections, Serve: s.serve, Crowded: s.makeRoom, Logger: logger})
	for name, each := range maps {
		s.maps[strings.ToLower(name)] = each
		s.maps[name] = each // most clients use this form
	}
	s.working, s.abandon = context.WithCancel(context.Background())
	return s
}

// Serve answers at a listener until Shutdown is called, and then returns nil. It closes the listener.
func (s *Server) Serve(listener net.Listener) error { return s.clients.Listen(listener) }

// Connections returns how many connections are open.
func (s *Server) Connections() int { return s.clients.Connections() }

// Shutdown ends Serve, answers the requests that have begun, and closes the connections. Requests
// that are not answered when ctx is done are abandoned.
func (s *Server) Shutdown(ctx context.Context) {
	s.clients.Drain()
	defer context.AfterFunc(ctx, s.abandon)()
	s.clients.Wait()
	s.abandon()
}

// serve answers the requests of one connection in their order.
func (s *Server) serve(conn net.Conn) {
	ctx, cancel := context.WithCancelCause(s.working)
	defer cancel(nil)
	c := &client{Conn: conn, server: s, cancel: cancel}
	s.enter(c)
	defer s.leave(c)
	c.output = bufio.NewWriterSize(c, bufferSize)
	defer context.AfterFunc(s.clients.Draining(), c.interrupt)()
	defer context.AfterFunc(s.working, c.abandon)()
	input := bufio.NewReaderSize(c, bufferSize)
	for {
		request, err := readNetstring(input)
		if err != nil {
			if errors.Is(err, errNetstring) {
				s.log.Warn("socketmap: the client does not speak the protocol", "client", conn.RemoteAddr().String())
			}
			_ = c.output.Flush()
			return
		}
		c.since.Store(-c.heard.UnixNano())
		reply := s.answer(ctx, request)
		writeNetstring(c.output, words[reply.Status], reply.Text)
	}
}

func (s *Server) enter(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
}

func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// makeRoom closes the connection that has been idle for the longest time, so that clients which ask for nothing cannot
// keep out others. If there is none, it closes the one that has waited for its answer for the longest time, so that slow
// answers cannot keep out quick ones. Postfix connects again when its connection was closed.
func (s *Server) makeRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var idle, waiting *client
	idleSince, waitingSince := now.Add(-timeToAsk).UnixNano(), now.Add(-timeToAnswer).UnixNano()
	for c := range s.open {
		switch since := c.since.Load(); {
		case since > 0 && since < idleSince:
			idle, idleSince = c, since
		case since < 0 && -since < waitingSince:
			waiting, waitingSince = c, -since
		}
	}
	last := cmp.Or(idle, waiting)
	if last == nil {
		return
	}
	delete(s.open, last)
	last.cancel(ErrCrowded)
	last.Close()
	if now.Sub(s.crowded) > crowdedPause {
		s.crowded = now
		s.log.Warn("socketmap: there are too many connections; for each new one, the one that has been idle or has waited longest is closed", "most", MaxConnections, "client", last.RemoteAddr().String())
	}
}

// client is a connection. Replies are sent when more input is needed, so that those to several requests
// in one packet are in one packet too.
type client struct {
	net.Conn
	server *Server
	cancel context.CancelCauseFunc // of its answer
	output *bufio.Writer
	mu     sync.Mutex // orders the calls that set deadlines

	// since is when the client began to owe a request, or to read a reply, in nanoseconds of Unix time. Octets of a
	// request that is not complete do not change it. While the client waits for an answer, it is when that began,
	// with a minus sign. It is 0 at the beginning.
	since atomic.Int64
	heard time.Time // when octets came last

	// readable and writable are when the deadlines were set last.
	readable, writable time.Time
}

// renewal is the time after which deadlines are set again. They are that much later than necessary, because
// setting them for each request would take longer than the rest of an answer from memory.
const renewal = 10 * time.Second

func (c *client) Read(p []byte) (int, error) {
	if err := c.output.Flush(); err != nil {
		return 0, err
	}
	now := time.Now()
	c.waits(now)
	if now.Sub(c.readable) > renewal {
		c.readable = now
		c.mu.Lock()
		if c.server.clients.Draining().Err() == nil {
			_ = c.SetReadDeadline(now.Add(idleTimeout + renewal))
		}
		c.mu.Unlock()
	}
	n, err := c.Conn.Read(p)
	c.heard = time.Now()
	return n, err
}

// waits notes that it is the turn of the client.
func (c *client) waits(now time.Time) {
	if c.since.Load() <= 0 {
		c.since.Store(now.UnixNano())
	}
}

// Write is called when replies are flushed, and for those that are more than the buffer holds.
func (c *client) Write(p []byte) (int, error) {
	now := time.Now()
	c.waits(now)
	if now.Sub(c.writable) > renewal {
		c.writable = now
		c.mu.Lock()
		if c.server.working.Err() == nil {
			_ = c.SetWriteDeadline(now.Add(writeTimeout + renewal))
		}
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

// interrupt ends the wait for more input.
func (c *client) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetReadDeadline(time.Now())
}

// abandon ends the wait for a client that does not read.
func (c *client) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(lastWord))
}

// answer answers one request.
func (s *Server) answer(ctx context.Context, request string) Reply {
	name, key, found := strings.Cut(request, " ")
	each := s.maps[name]
	if each == nil {
		each = s.maps[strings.ToLower(name)]
	}
	if each == nil {
		each = s.maps["*"]
	}
	if !found || each == nil {
		return Reply{Permanent, "mxseal has no map " + names.Quote(name, 80)}
	}
	reply := each(ctx, key)
	if int(reply.Status) >= len(words) || len(words[reply.Status])+len(reply.Text) > maxReply {
		return Reply{Temporary, "mxseal: the answer is too long"}
	}
	return reply
}

// errNetstring means that the input is not a netstring.
var errNetstring = errors.New("not a netstring of at most 10000 octets")

// readNetstring reads a netstring: its length in decimal digits, a colon, the octets, a comma. The
// error is io.EOF at the end of the input.
func readNetstring(r *bufio.Reader) (string, error) {
	length := -1
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil && length < 0:
			return "", err
		case err != nil:
			return "", io.ErrUnexpectedEOF
		case c == ':' && length >= 0:
			return readOctets(r, length)
		case c < '0' || c > '9' || length == 0:
			return "", errNetstring
		}
		if length = max(length, 0)*10 + int(c-'0'); length > maxRequest {
			return "", errNetstring
		}
	}
}

func readOctets(r *bufio.Reader, length int) (string, error) {
	if length < r.Size() {
		octets, err := r.Peek(length + 1)
		if err != nil {
			return "", err
		}
		defer r.Discard(length + 1) // it is there
		return withoutComma(octets)
	}
	octets := make([]byte, length+1)
	if _, err := io.ReadFull(r, octets); err != nil {
		return "", err
	}
	return withoutComma(octets)
}

func withoutComma(octets []byte) (string, error) {
	last := len(octets) - 1
	if octets[last] != ',' {
		return "", errNetstring
	}
	return string(octets[:last]), nil
}

// writeNetstring writes a netstring of two parts. An error shows when the writer is flushed.
func writeNetstring(w *bufio.Writer, word, text string) {
	_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(len(word)+len(text)), 10))
	_ = w.WriteByte(':')
	_, _ = w.WriteString(word)
	_, _ = w.WriteString(text)
	_ = w.WriteByte(',')
}
