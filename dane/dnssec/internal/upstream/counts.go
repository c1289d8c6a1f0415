package upstream

import "sync/atomic"

// Counts are numbers of queries to one server. What is neither a reply nor a timeout nor
// a failure is under way, was given up by the caller, or was not sent for lack of room.
type Counts struct {
	Queries  uint64 // each over UDP, TCP or TLS
	Replies  uint64 // of any kind that belong to their questions
	Timeouts uint64 // no reply in time
	Failures uint64 // other errors of the server, or of the connection to it
}

type counts struct {
	queries, replies, timeouts, failures atomic.Uint64
}

func (c *counts) failed(e *Error) {
	switch e.Kind {
	case Busy, BadQuestion:
	case Timeout:
		c.timeouts.Add(1)
	default:
		c.failures.Add(1)
	}
}

// Counts returns the numbers since the server became known.
func (s *Server) Counts() Counts {
	c := &s.counts
	return Counts{c.queries.Load(), c.replies.Load(), c.timeouts.Load(), c.failures.Load()}
}
