// Package dnsvectors reads the DNSSEC test vectors, and serves their replies. It shares
// nothing with the validator, so that it reads them as anyone else would.
package dnsvectors

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// File is the file that dane/dnssec/testdata/README.md explains.
type File struct {
	Messages []string `json:"messages"`
	Cases    []Case   `json:"cases"`
}

// Case is a question with the replies of a resolver and the correct result.
type Case struct {
	What    string    `json:"what"`
	Anchors []string  `json:"anchors"`
	Time    time.Time `json:"time"`
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Replies []int     `json:"replies"`

	Status   string   `json:"status"`
	NXDomain bool     `json:"nxdomain,omitempty"`
	Records  []string `json:"records,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Also     string   `json:"also,omitempty"`
	Why      string   `json:"why,omitempty"`
}

// Read reads the vectors.
func Read(t testing.TB, name string) *File {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := new(File)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(f); err != nil {
		t.Fatal(err)
	}
	return f
}

// Write writes the vectors.
func (f *File) Write(t testing.TB, name string) {
	t.Helper()
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Server is a resolver that gives the replies of one case at a time, over UDP and TCP. The
// zero Server is reached by Dial only.
type Server struct {
	Addr string // on loopback, if Serve started it

	mu      sync.Mutex
	replies map[string][]byte // by question
}

// Dial connects to the server through memory, so that a test can use synctest.
func (s *Server) Dial(_ context.Context, network, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	if network == "tcp" {
		go s.serve(far)
		return near, nil
	}
	go func() {
		defer far.Close()
		buf := make([]byte, 4096)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			if reply := s.reply(buf[:n], udpSize); reply != nil {
				if _, err := far.Write(reply); err != nil {
					return
				}
			}
		}
	}()
	return near, nil
}

// udpSize is the maximum size of a reply over UDP, in octets.
const udpSize = 1232

// Serve starts a Server that runs until the test ends.
func Serve(t testing.TB) *Server {
	t.Helper()
	packets, listener := dnsdata.Listen(t)
	s := &Server{Addr: packets.LocalAddr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := s.reply(buf[:n], udpSize); reply != nil {
				_, _ = packets.WriteTo(reply, from)
			}
		}
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		packets.Close()
		listener.Close()
		running.Wait()
	})
	return s
}

// Use makes the server give the replies of the case.
func (s *Server) Use(t testing.TB, f *File, c *Case) {
	t.Helper()
	replies := make(map[string][]byte)
	for _, i := range c.Replies {
		wire, err := base64.StdEncoding.DecodeString(f.Messages[i])
		if err != nil {
			t.Fatal(err)
		}
		replies[question(wire)] = wire
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = replies
}

// question returns the question of a message in a form that can be compared, or "".
func question(wire []byte) string {
	name, end, err := dns.UnpackDomainName(wire, 12)
	if err != nil || len(wire) < end+4 {
		return ""
	}
	return strings.ToLower(name) + string(wire[end:end+4])
}

// reply returns the reply to a query: that of the case, or SERVFAIL if it has none. A reply
// with more octets than the limit is truncated to the question.
func (s *Server) reply(query []byte, limit int) []byte {
	asked := question(query)
	if asked == "" {
		return nil
	}
	_, end, _ := dns.UnpackDomainName(query, 12)
	head := append(append([]byte(nil), query[:4]...), 0, 1, 0, 0, 0, 0, 0, 0)
	head = append(head, query[12:end+4]...)
	head[2], head[3] = head[2]|0x80, 0x80
	s.mu.Lock()
	defer s.mu.Unlock()
	switch found := s.replies[asked]; {
	case found == nil:
		head[3] |= dns.RcodeServerFailure
		return head
	case len(found) > limit:
		head[2] |= 0x02 // TC
		return head
	default:
		return append(append([]byte(nil), query[:2]...), found[2:]...)
	}
}

// serve answers queries over one connection.
func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	var length [2]byte
	for {
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply := s.reply(query, 1<<16)
		if reply == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}
