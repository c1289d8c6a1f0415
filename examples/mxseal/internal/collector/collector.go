package collector

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
)

const (
	// maxDatagram is more than the kernel passes with its default settings.
	maxDatagram = 256 << 10
	// maxWaiting bounds the datagrams that wait to be decoded, and maxWaitingOctets their size. The
	// queue of the kernel has room for ten.
	maxWaiting       = 4096
	maxWaitingOctets = 32 << 20
	// logInterval is the time between two lines about datagrams that are not understood.
	logInterval = time.Minute
)

// Counts are the numbers of datagrams so far. Version counts those of an unknown version, and Dropped those
// for which there was no room or that could not be received.
type Counts struct {
	OK, Malformed, Version, Dropped uint64
}

// Collector records the sessions of datagrams. Make one with New.
type Collector struct {
	recorder tlsrpt.Recorder
	log      *slog.Logger
	now      func() time.Time

	ok, malformed, version, dropped atomic.Uint64
	waiting                         chan []byte
	octets                          atomic.Int64 // of those that wait
	logged                          time.Time    // used by the goroutine that decodes
}

// New returns a collector that passes the sessions to a recorder.
func New(recorder tlsrpt.Recorder, logger *slog.Logger, now func() time.Time) *Collector {
	return &Collector{recorder: recorder, log: logger, now: now, waiting: make(chan []byte, maxWaiting)}
}

// Counts returns the numbers of datagrams so far.
func (c *Collector) Counts() Counts {
	return Counts{OK: c.ok.Load(), Malformed: c.malformed.Load(), Version: c.version.Load(), Dropped: c.dropped.Load()}
}

// Run receives datagrams until ctx is done, and then records those that have been received. It closes the
// sockets.
func (c *Collector) Run(ctx context.Context, sockets ...net.PacketConn) {
	var receiving, decoding sync.WaitGroup
	decoding.Go(c.decode)
	for _, socket := range sockets {
		receiving.Go(func() { c.receive(ctx, socket) })
	}
	receiving.Wait()
	close(c.waiting)
	decoding.Wait()
}

// receive does nothing but empty the short queue of the kernel.
func (c *Collector) receive(ctx context.Context, socket net.PacketConn) {
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	buffer := make([]byte, maxDatagram)
	for {
		n, _, err := socket.ReadFrom(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			c.dropped.Add(1)
			c.log.Error("tlsrpt-collector: a datagram could not be received", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		if c.octets.Load()+int64(n) > maxWaitingOctets {
			c.dropped.Add(1)
			continue
		}
		octets := append([]byte(nil), buffer[:n]...)
		c.octets.Add(int64(n))
		select {
		case c.waiting <- octets:
		default:
			c.octets.Add(-int64(n))
			c.dropped.Add(1)
		}
	}
}

// decode records the sessions of the datagrams that wait.
func (c *Collector) decode() {
	for octets := range c.waiting {
		c.octets.Add(-int64(len(octets)))
		session, err := decode(octets, c.now())
		switch {
		case errors.Is(err, ErrVersion):
			c.version.Add(1)
			c.complain(err)
		case err != nil:
			c.malformed.Add(1)
			c.complain(err)
		default:
			c.ok.Add(1)
			if session != nil {
				c.recorder.Record(session)
			}
		}
	}
}

// complain logs that a datagram is not understood, at most once in each logInterval.
func (c *Collector) complain(err error) {
	now := c.now()
	if !c.logged.IsZero() && now.Sub(c.logged) < logInterval {
		return
	}
	c.logged = now
	counts := c.Counts()
	c.log.Warn("tlsrpt-collector: a datagram is not understood", "error", names.Printable(err.Error(), 300),
		"malformed", counts.Malformed, "unknown_version", counts.Version)
}
