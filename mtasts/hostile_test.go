package mtasts_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// wantReport checks the TLS-RPT result type, and that the fetch did not take longer
// than permitted.
func wantReport(t *testing.T, r mtasts.Result, start time.Time, resultType, reason string) {
	t.Helper()
	err, ok := r.Err.(*mtasts.Error)
	if !ok {
		t.Fatalf("error %v", r.Err)
	}
	if gotType, gotReason := err.TLSReport(); gotType != resultType || gotReason != reason {
		t.Errorf("reported as %s, %s, want %s, %s", gotType, gotReason, resultType, reason)
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
}

// A host that speaks HTTP/2 without being offered it, and sends a flood of frames,
// is not accepted as a policy host.
func TestHTTP2Flood(t *testing.T) {
	frame := func(kind byte, payload string) string {
		n := len(payload)
		return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, 0, 0, 0, 0, 0}) + payload
	}
	flood := func(unit string) site {
		return func(conn *tls.Conn, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, unit)
			}
		}
	}
	for name, unit := range map[string]string{
		"settings":     frame(4, ""),
		"pings":        frame(6, "12345678"),
		"continuation": frame(1, "") + frame(9, strings.Repeat("x", 1000)),
		"data":         frame(0, strings.Repeat("\n", 1<<14-9)),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setTLS(&tls.Config{Certificates: []tls.Certificate{w.good()}}, flood(unit))
				start := time.Now()
				wantReport(t, lookup(t, w.client(t)), start, "sts-policy-fetch-error", "http-error")
			})
		})
	}
	t.Run("no other protocol", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.setTLS(&tls.Config{Certificates: []tls.Certificate{w.good()}, NextProtos: []string{"h2"}}, flood(frame(4, "")))
			start := time.Now()
			wantReport(t, lookup(t, w.client(t)), start, "sts-policy-fetch-error", "http-error")
		})
	})
}

// A redirect into the sender's own network, in any form, is reported and not
// followed: nothing else is dialed or looked up.
func TestRedirectInsideIsNotFollowed(t *testing.T) {
	for _, location := range []string{
		"https://127.0.0.1/", "http://[::1]:25/", "https://localhost/.well-known/mta-sts.txt",
		"//169.254.169.254/latest/meta-data", "file:///etc/passwd", "gopher://10.0.0.1:25/", "\\\\10.0.0.1\\x",
	} {
		t.Run(location, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setSite(w.good(), respond(302, "text/plain", "", "Location: "+location))
				start := time.Now()
				wantReport(t, lookup(t, w.client(t)), start, "sts-policy-fetch-error", "http-redirect")
				if len(w.dials) != 1 || w.dials[0] != "tcp 11.0.0.1:443" {
					t.Errorf("dialed %q", w.dials)
				}
			})
		})
	}
}

// rebinding is a resolver that answers first with a public address, and later with
// an internal one.
type rebinding struct {
	*world
	mu    sync.Mutex
	asked int
}

func (r *rebinding) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked++; r.asked == 1 {
		return []netip.Addr{netip.MustParseAddr("11.0.0.1")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// Field note 68: a name that changes to an internal address after the check is not
// looked up again before the dial. The next fetch refuses it.
func TestRebindingIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		r := &rebinding{world: w}
		c := w.client(t, func(config *mtasts.Config) { config.Resolver = r })
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if r.asked != 1 || len(w.dials) != 1 || w.dials[0] != "tcp 11.0.0.1:443" {
			t.Errorf("asked %d times, dialed %q", r.asked, w.dials)
		}
		time.Sleep(25 * time.Hour)
		start := time.Now()
		wantReport(t, lookup(t, c), start, "sts-policy-fetch-error", "http-address-refused")
		if len(w.dials) != 1 {
			t.Errorf("dialed %q", w.dials)
		}
	})
}

// A policy host that renegotiates, as TLS 1.2 permits, is disconnected.
func TestRenegotiationIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setHost(func(conn net.Conn) {
			var secrets bytes.Buffer
			tap := &tapConn{Conn: conn}
			server := tls.Server(tap, &tls.Config{
				Certificates: []tls.Certificate{w.good()}, KeyLogWriter: &secrets,
				MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			})
			if server.Handshake() != nil {
				return
			}
			io.ReadFull(server, make([]byte, 1))
			io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"+enforce)
			conn.Write(helloRequest(t, secrets.String(), tap.sent, 2))
			io.Copy(io.Discard, conn)
		})
		start := time.Now()
		r := lookup(t, w.client(t))
		wantReport(t, r, start, "sts-policy-fetch-error", "http-error")
		if !strings.Contains(r.Err.Error(), "no renegotiation") {
			t.Errorf("error %v", r.Err)
		}
	})
}

// tapConn keeps the first octets sent, which include the random of the ServerHello.
type tapConn struct {
	net.Conn
	sent []byte
}

func (c *tapConn) Write(b []byte) (int, error) {
	if len(c.sent) < 43 {
		c.sent = append(c.sent, b...)
	}
	return c.Conn.Write(b)
}

// helloRequest returns the record with which a server requests a new handshake,
// encrypted as number seq of its records with AES-128-GCM (RFC 5246, RFC 5288).
func helloRequest(t *testing.T, keyLog string, sent []byte, seq uint64) []byte {
	t.Helper()
	fields := strings.Fields(keyLog) // CLIENT_RANDOM, the random, the master secret
	if len(fields) != 3 || len(sent) < 43 {
		t.Fatalf("key log %q, sent %x", keyLog, sent)
	}
	clientRandom, err := hex.DecodeString(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	master, err := hex.DecodeString(fields[2])
	if err != nil {
		t.Fatal(err)
	}
	serverRandom := sent[11:43] // after the headers of record and handshake, and the version
	keys := prf(master, "key expansion", append(bytes.Clone(serverRandom), clientRandom...), 40)
	block, err := aes.NewCipher(keys[16:32]) // client's key, server's key, client's salt, server's salt
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	explicit := binary.BigEndian.AppendUint64(nil, seq)
	body := []byte{0, 0, 0, 0} // HelloRequest of length 0
	header := []byte{22, 3, 3}
	additional := append(bytes.Clone(explicit), 22, 3, 3, 0, byte(len(body)))
	sealed := gcm.Seal(nil, append(bytes.Clone(keys[36:40]), explicit...), body, additional)
	record := append(header, 0, byte(len(explicit)+len(sealed)))
	return append(append(record, explicit...), sealed...)
}

// prf is the pseudorandom function of RFC 5246 section 5 with SHA-256.
func prf(secret []byte, label string, seed []byte, n int) []byte {
	sum := func(data []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(data)
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(append(bytes.Clone(a), seed...))...)
	}
	return out[:n]
}

// Bad input does not end a policy in force, and each attack causes one fetch.
func TestHostileHostTakesNothing(t *testing.T) {
	endless := func(conn *tls.Conn, _ *http.Request) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
		for err := error(nil); err == nil; {
			_, err = io.WriteString(conn, "x: y\n")
		}
	}
	slow := func(conn *tls.Conn, _ *http.Request) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
		for err := error(nil); err == nil; time.Sleep(time.Second) {
			_, err = io.WriteString(conn, "\n")
		}
	}
	for name, attack := range map[string]site{
		"never-ending": endless, "an octet each second": slow,
		"compressed": respond(200, "text/plain", gzipped(strings.Repeat("\n", 10<<20)), "Content-Encoding: gzip"),
		"too short":  respond(200, "text/plain", "version: STSv1\n"),
		"header":     respond(200, "text/plain", enforce, "X: "+strings.Repeat("x", 1<<20)),
		"redirect":   respond(301, "text/plain", enforce, "Location: http://127.0.0.1/"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.client(t)
				first := lookup(t, c)
				w.setID("2")
				w.setSite(w.good(), attack)
				time.Sleep(5 * time.Minute)
				for range 50 {
					start := time.Now()
					r := lookup(t, c)
					if r.Policy != first.Policy || !r.Expires.Equal(first.Expires) || time.Since(start) > 5*time.Second {
						t.Fatalf("after %v: %+v", time.Since(start), r)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				if r := lookup(t, c); r.Policy != first.Policy || r.State != mtasts.Failing || !r.Reportable() {
					t.Errorf("%+v", r)
				}
				wantCounts(t, w, 2, 2)
			})
		})
	}
}
