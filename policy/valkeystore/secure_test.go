package valkeystore

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/mtasts"
)

// relayACL is the user in the package documentation.
var relayACL = []string{
	"ACL", "SETUSER", "relay", "on", ">secret", "resetkeys", "resetchannels", "-@all", "~mxseal:*",
	"+hello", "+ping", "+client|tracking",
	"+getrange", "+get", "+set", "+del", "+eval", "+scan", "+time",
}

// reportsACL contains the additional permissions for reports.
var reportsACL = []string{
	"ACL", "SETUSER", "relay", "+type", "+exists", "+expire", "+rename", "+unlink",
	"+hget", "+hgetall", "+hlen", "+hmget", "+hset", "+sadd", "+scard", "+sismember", "+srem", "+sscan",
	"+zadd", "+zrangebyscore", "+zremrangebyscore",
}

// The permissions in the package documentation are sufficient.
func TestACL(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.admin(t, relayACL...)
	relay := func(config *Config) { config.Server.Username, config.Server.Password = "relay", "secret" }
	a, b := open(t, at(srv.addr, relay)), open(t, at(srv.addr, relay))
	heard := listen(t, b)
	e := entry(domain, time.Minute)
	put(t, a, e)
	eventually(t, "the other Store reports the change", func() bool { return heard.has(domain) })
	wantEntry(t, b, e)
	for _, err := range b.All(t.Context()) {
		if err != nil {
			t.Error(err)
		}
	}
	release, ok, err := a.Lease(t.Context(), domain, time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	release()
	if names := srv.keys(t, "*:lease:*"); len(names) != 0 {
		t.Errorf("leases are not released: %q", names)
	}
	if err := b.Delete(t.Context(), domain); err != nil {
		t.Error(err)
	}
	log, err := srv.admin(t, "ACL", "LOG").ToArray()
	if err != nil || len(log) != 0 {
		t.Errorf("a forbidden command: %v, %v", log, err)
	}

	elsewhere := open(t, at(srv.addr, relay, func(config *Config) { config.Prefix = "other:" }))
	if err := elsewhere.Put(t.Context(), e); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("keys of others: %v", err)
	}
}

// The permissions for reports in the package documentation are sufficient.
func TestACLOfReports(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.admin(t, relayACL...)
	srv.admin(t, reportsACL...)
	r := open(t, at(srv.addr, func(config *Config) { config.Server.Username, config.Server.Password = "relay", "secret" })).Reports()
	old := today() - 8
	aged := batch("w", 1, domain, sessions(noPolicy, 1))
	aged.Sums[0].Day = old
	add(t, r, aged)
	add(t, r, batch("w", 2, domain, sessions(noPolicy, 1)))
	add(t, r, batch("w", 3, domain, sessions(noPolicy, 1, untrusted("a"))))
	for _, err := range r.Domains(t.Context(), today()) {
		if err != nil {
			t.Error(err)
		}
	}
	sums(t, r, domain)
	release, ok, err := r.Lease(t.Context(), today(), domain, time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if number, err := r.Seal(t.Context(), today(), domain); err != nil || number != 1 {
		t.Errorf("sealed part %d, %v", number, err)
	}
	if part := sums(t, r, domain); part.Number != 1 || total(part) != 3 {
		t.Errorf("%+v", part)
	}
	if err := r.Delete(t.Context(), today(), domain, 1); err != nil {
		t.Error(err)
	}
	release()
	for range 2 { // the first call could be a mistake
		if err := r.DeleteBefore(t.Context(), today()-7); err != nil {
			t.Error(err)
		}
	}
	if part, err := r.Sums(t.Context(), old, domain); err != nil || part.Number != 0 {
		t.Errorf("old: %+v, %v", part, err)
	}
	log, err := srv.admin(t, "ACL", "LOG").ToArray()
	if err != nil || len(log) != 0 {
		t.Errorf("a forbidden command: %v, %v", log, err)
	}
}

// A wrong password is an error that says so and does not contain the password.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.admin(t, relayACL...)
	s := open(t, at(srv.addr, func(config *Config) { config.Server.Username, config.Server.Password = "relay", "guessed" }))
	err := s.Put(t.Context(), entry(domain, 0))
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "guessed") {
		t.Errorf("Put: %v", err)
	}
}

// If the server refuses all commands, relays keep their policies.
func TestRemovedUserLosesNoPolicies(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.admin(t, relayACL...)
	s := open(t, at(srv.addr, func(config *Config) { config.Server.Username, config.Server.Password = "relay", "secret" }))
	e := entry(domain, time.Minute)
	put(t, s, e)
	srv.admin(t, "ACL", "SETUSER", "relay", "-getrange")
	s.cache.changed(domain)
	wantEntry(t, s, e)
	if _, err := s.Get(t.Context(), "other.example"); err == nil || errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("without the right to read: %v", err)
	}
	srv.admin(t, "ACL", "DELUSER", "relay")
	eventually(t, "the loss is noticed", func() bool {
		client, _ := s.link.get()
		return client == nil
	})
	wantEntry(t, s, e)
	if _, err := s.Get(t.Context(), "other.example"); err == nil || errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("without a user: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	alive := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	root := testpki.Root(t, "root", alive)
	site := root.Server(t, []string{"valkey.example"}, alive)
	dir := t.TempDir()
	secure := freeAddr(t)
	_, port, _ := net.SplitHostPort(secure)
	startServer(t, "--tls-port", port, "--tls-auth-clients", "no",
		"--tls-cert-file", writePEM(t, dir, "CERTIFICATE", site.Cert.Raw),
		"--tls-key-file", writePEM(t, dir, "PRIVATE KEY", marshalKey(t, site)),
		"--tls-ca-cert-file", writePEM(t, dir, "TRUSTED CERTIFICATE", root.Cert.Raw))
	roots := x509.NewCertPool()
	roots.AddCert(root.Cert)
	with := func(name string) Config {
		return at(secure, func(config *Config) { config.Server.TLSConfig = &tls.Config{RootCAs: roots, ServerName: name} })
	}

	a, b := open(t, with("valkey.example")), open(t, with("valkey.example"))
	heard := listen(t, b)
	e := entry(domain, time.Minute)
	put(t, a, e)
	eventually(t, "the other Store reports the change", func() bool { return heard.has(domain) })
	wantEntry(t, b, e)

	if err := open(t, with("other.example")).Put(t.Context(), e); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of another name: %v", err)
	}
	if err := open(t, at(secure)).Put(t.Context(), e); err == nil {
		t.Error("in the clear, to a server that wants TLS")
	}
}

func marshalKey(t *testing.T, e *testpki.Entity) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(e.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, dir, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(dir, strings.ReplaceAll(kind, " ", "-"))
	kind = strings.TrimPrefix(kind, "TRUSTED ")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
