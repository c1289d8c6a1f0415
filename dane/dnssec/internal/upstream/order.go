package upstream

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Attempt says which server is asked, and how.
type Attempt struct {
	Server *Server
	Stream bool // over TCP, without asking over UDP first
	Round  int  // how many attempts at the server come before this one
}

// Attempts returns the order in which servers are tried: those that work, then those
// that did badly recently. After that, all are tried again over TCP, which passes where
// large or fragmented datagrams do not. A server whose replies over UDP seem to be
// blocked is asked over TCP first. Neither failures nor Options.Rotate put a plaintext
// server before an authenticated one that is configured before it: an attacker who makes
// that one slow could otherwise choose the server that answers.
func (c *Client) Attempts(servers []*Server, now time.Time) []Attempt {
	options := c.servers.options()
	turn := uint64(0)
	if options.Rotate {
		turn = c.servers.turn.Add(1)
	}
	ordered := servers
	if len(servers) > 1 {
		ordered = slices.Clone(servers)
	}
	for rest := ordered; len(rest) > 1; {
		alike := slices.IndexFunc(rest, func(s *Server) bool { return s.isAuthenticated() != rest[0].isAuthenticated() })
		if alike < 0 {
			alike = len(rest)
		}
		arrange(rest[:alike], turn, now)
		rest = rest[alike:]
	}
	attempts := make([]Attempt, 0, options.Attempts*len(ordered))
	for round := range options.Attempts {
		again := round > 0
		for _, s := range ordered {
			stream := options.UseTCP || again != s.blocksUDP(now)
			attempts = append(attempts, Attempt{Server: s, Stream: stream, Round: round})
		}
	}
	return attempts
}

// isAuthenticated reports whether nobody on the network can answer for the server.
func (s *Server) isAuthenticated() bool { return s.IsTLS() || s.IsLoopback() }

// arrange rotates servers, and then puts those that did badly recently last.
func arrange(servers []*Server, turn uint64, now time.Time) {
	first := turn % uint64(len(servers))
	copy(servers, slices.Concat(servers[first:], servers[:first]))
	slices.SortStableFunc(servers, func(a, b *Server) int { return cmp.Compare(a.standing(now), b.standing(now)) })
}

const (
	// blockedAfter is after how many questions in a row that were answered over TCP,
	// and not over UDP, UDP counts as blocked.
	blockedAfter = 2
	// blockedTime is how long UDP counts as blocked. The next question then tries it
	// again. An attacker who blocks UDP only makes the questions go over TCP.
	blockedTime = 10 * time.Minute
)

// answered notes how the server answered.
func (s *Server) answered(to Attempt, now time.Time) {
	switch {
	case !to.Stream:
		s.unanswered.Store(0)
		s.blockedAt.Store(0)
	case to.Round > 0 && s.unanswered.Add(1) >= blockedAfter:
		s.blockedAt.Store(now.UnixNano())
	}
}

// blocksUDP reports whether replies of the server over UDP seem to be blocked.
func (s *Server) blocksUDP(now time.Time) bool {
	at := s.blockedAt.Load()
	return at != 0 && now.Sub(time.Unix(0, at)).Abs() < blockedTime
}

// Tried is the attempts that were made for a question. It is comparable, so that
// questions with the same past can share what follows. The zero value means none.
type Tried string

// With returns t and the attempt. again means that the server may do better in another
// way.
func (t Tried) With(to Attempt, again bool) Tried {
	t += Tried(to.key())
	if to.Stream {
		t += "t"
	} else {
		t += "u"
	}
	if again {
		t += "?"
	}
	return t + "\n"
}

// key identifies the attempt in a Tried.
func (a Attempt) key() string { return a.Server.String() + " " + string(rune('0'+a.Round)) }

// has reports whether the attempt was made.
func (t Tried) has(to Attempt) bool {
	for line := range strings.Lines(string(t)) {
		if strings.TrimRight(line, "tu?\n") == to.key() {
			return true
		}
	}
	return false
}

// overUDP reports whether the server was asked over UDP.
func (t Tried) overUDP(s *Server) bool {
	return strings.HasSuffix(strings.TrimRight(t.last(s), "?\n"), "u")
}

// names reports whether an attempt was made at the server.
func (t Tried) names(s *Server) bool { return t.last(s) != "" }

// worthAgain reports whether the server may do better in another way than in the last
// attempt.
func (t Tried) worthAgain(s *Server) bool { return strings.HasSuffix(t.last(s), "?\n") }

// last returns the line of the last attempt at the server.
func (t Tried) last(s *Server) (last string) {
	for line := range strings.Lines(string(t)) {
		if strings.HasPrefix(line, s.String()+" ") {
			last = line
		}
	}
	return last
}
