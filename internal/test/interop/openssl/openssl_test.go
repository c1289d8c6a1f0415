// Package openssl compares dane.Verify with the DANE verification of OpenSSL,
// which Postfix uses. The same chains and records must have the same verdict.
package openssl

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// verdict is the result of a verification.
type verdict string

const (
	accepted verdict = "accepted"
	rejected verdict = "rejected"
	unusable verdict = "no usable record"
)

// oracle runs OpenSSL as the client of a TLS server that presents the
// certificates of a test.
type oracle struct {
	program string
	addr    string

	mu     sync.Mutex
	chains map[string]*tls.Certificate // by server name
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{program: interop.Need(t, "openssl"), chains: make(map[string]*tls.Certificate)}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if cert, ok := o.chains[hello.ServerName]; ok {
				return cert, nil
			}
			return nil, errors.New("unknown server name")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.addr = listener.Addr().String()
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		conns.Wait()
	})
	return o
}

// serve serves a connection until the client closes it.
func serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Minute))
	conn.Read(make([]byte, 1))
}

// verify verifies a chain with OpenSSL.
func (o *oracle) verify(t *testing.T, s scene, records []dane.Record) verdict {
	t.Helper()
	o.mu.Lock()
	serverName := fmt.Sprintf("c%d.test", len(o.chains))
	cert := &tls.Certificate{PrivateKey: s.chain[0].Key}
	for _, e := range s.chain {
		cert.Certificate = append(cert.Certificate, e.Cert.Raw)
	}
	o.chains[serverName] = cert
	o.mu.Unlock()

	args := []string{"s_client", "-connect", o.addr, "-servername", serverName,
		"-dane_tlsa_domain", s.host(), "-dane_ee_no_namechecks", "-verify_return_error",
		"-attime", fmt.Sprint(testpki.Now.Unix()), "-no-CAfile", "-no-CApath", "-no-CAstore"}
	for _, r := range records {
		args = append(args, "-dane_tlsa_rrdata", r.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, o.program, args...).CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("Failed to import any TLSA records")):
		return unusable
	case err == nil && bytes.Contains(out, []byte("Verification: OK")) && bytes.Contains(out, []byte("DANE TLSA ")):
		return accepted
	case bytes.Contains(out, []byte("verify error:")) || bytes.Contains(out, []byte("certificate verify failed")):
		return rejected
	}
	t.Fatalf("no verdict from openssl (%v):\n%s", err, out)
	return ""
}

// ours verifies the same chain with package dane.
func ours(s scene, records []dane.Record) (verdict, error) {
	usable := dane.Select(records)
	if len(usable) == 0 {
		return unusable, nil
	}
	chain := make([]*x509.Certificate, len(s.chain))
	for i, e := range s.chain {
		chain[i] = e.Cert
	}
	if _, err := dane.Verify(chain, usable, []string{s.host()}, testpki.Now); err != nil {
		return rejected, err
	}
	return accepted, nil
}

// TestVerifyAgainstOpenSSL compares verdicts.
func TestVerifyAgainstOpenSSL(t *testing.T) {
	o := newOracle(t)
	var count struct {
		sync.Mutex
		cases   int
		by      map[verdict]int
		differs map[string]int
	}
	count.by, count.differs = make(map[verdict]int), make(map[string]int)

	slots := make(chan struct{}, 4)
	var running sync.WaitGroup
	for _, s := range scenes(t) {
		for _, set := range s.sets(t) {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				theirs := o.verify(t, s, set.records)
				mine, err := ours(s, set.records)
				count.Lock()
				defer count.Unlock()
				count.cases++
				count.by[theirs]++
				if mine == theirs {
					return
				}
				if why := deliberate(s, set, mine, theirs); why != "" {
					count.differs[why]++
					return
				}
				t.Errorf("%s, records %s: OpenSSL: %s; dane: %s (%v)", s.name, set.name, theirs, mine, err)
			})
		}
	}
	running.Wait()
	t.Logf("%d combinations of chain and records; OpenSSL's verdicts: %v", count.cases, count.by)
	for why, n := range count.differs {
		interop.NotCompared(t, "%d of %d combinations, on which dane differs from OpenSSL on purpose: %s", n, count.cases, why)
	}
	if count.cases < 300 || count.by[accepted] < 100 || count.by[rejected] < 100 {
		t.Errorf("only %d combinations were compared; OpenSSL's verdicts: %v", count.cases, count.by)
	}
}

// difference is an intended difference from OpenSSL.
type difference struct {
	scene, set   string // prefixes of the names of the scene and of the record set
	mine, theirs verdict
	why          string
}

func deliberate(s scene, set recordSet, mine, theirs verdict) string {
	for _, d := range differences {
		if strings.HasPrefix(s.name, d.scene) && strings.HasPrefix(set.name, d.set) && d.mine == mine && d.theirs == theirs {
			return d.why
		}
	}
	return ""
}

const (
	ownKey = "RFC 7671 section 5.2.3: a key in DNS is taken without a certificate only if no certificate of the chain has it; " +
		"a self-signed server certificate has it and is no trust anchor"
	backtracking = "RFC 6698 section 2.1.1: what counts is whether the chain validates with this trust anchor; " +
		"OpenSSL goes by the first issuer that fits the name and does not come back to try the next"
	noConstraints = "RFC 5280 section 4.2.1.9: without basic constraints in a version 3 certificate its key MUST NOT " +
		"be used to verify certificate signatures; OpenSSL makes do with keyCertSign"
	partialWildcard = "RFC 7672 section 3.2.3: a wildcard must be the entire first label; " +
		"OpenSSL, unless told otherwise, takes one that is part of it"
	keyIdentifier = "RFC 5280 section 6.1.3 (a): the signature and the name tell whether this is the issuer; " +
		"OpenSSL believes a key identifier that says otherwise (section 4.2.1.1: a help for building paths)"
	sha1 = "RFC 6698 section 4.1: what is too weak is not used; " +
		"OpenSSL does not use SHA-1 either, but overlooks it below a bare key"
	underscore = "RFC 7672 section 3.2.3: a wildcard matches the first label of the reference identifier; " +
		"OpenSSL does not let it stand for an underscore"
)

var differences = []difference{
	{"self-signed leaf", "2 1 0", rejected, accepted, ownKey},
	{"self-signed leaf", "anchor key in DNS", rejected, accepted, ownKey},
	{"self-signed authority as leaf", "2 1 0", rejected, accepted, ownKey},
	{"cross-signed, both sent", "2 ", accepted, rejected, backtracking},
	{"cross-signed, the other way round", "2 ", accepted, rejected, backtracking},
	{"two certificates of one root", "2 ", accepted, rejected, backtracking},
	{"intermediate without basic constraints", "2 ", rejected, accepted, noConstraints},
	{"root without basic constraints", "2 ", rejected, accepted, noConstraints},
	{"leaf signed with SHA-1, root not sent", "2 1 0", rejected, accepted, sha1},
	{"another key identifier", "2 ", accepted, rejected, keyIdentifier},
	{`names ["m*.`, "2 ", rejected, accepted, partialWildcard},
	{`names ["*x.`, "2 ", rejected, accepted, partialWildcard},
	{`names ["*mx.`, "2 ", rejected, accepted, partialWildcard},
	{`names ["*.example.org"] for "mx_1`, "2 ", accepted, rejected, underscore},
}
