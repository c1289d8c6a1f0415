package policytest

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Server is a mail host that is a program of its own, such as a Postfix. Break can
// make it unreachable with Refuse, Blackhole and BlackholeAt; other options do not
// change it. It is safe for concurrent use.
type Server struct{ server }

// Server adds a mail host that is a program at a real address, such as
// "127.0.0.1:2525". In this internet it has the name, an address of its own and
// port 25, and Dial connects it to the program. The TLSA records have four fields,
// because the certificate is the program's:
//
//	inet.Server("mx.example.org", "127.0.0.1:2525", policytest.TLSARecord(cert, "3 1 1"))
//
// The program needs a certificate that its clients accept: by TLSA records, or by
// Internet.IssueCertificate.
func (inet *Internet) Server(name, addr string, tlsa ...string) *Server {
	name = normal(name)
	s := &Server{server{domain: inet.domainOf(name), name: name, port: 25, real: addr, loopback: addr}}
	inet.addMailHost(name)
	s.publish(s.behavior())
	s.PublishTLSA(tlsa...)
	return s
}

// PublishTLSA replaces the TLSA records of the server. Without arguments it removes
// all of them.
func (s *Server) PublishTLSA(records ...string) {
	for _, record := range records {
		if len(strings.Fields(record)) < 4 {
			panic(fmt.Sprintf("policytest: TLSA record %q has no data; use TLSARecord", record))
		}
	}
	s.publishTLSA(records)
}

// IssueCertificate returns a new key and a certificate for a name, with the chain
// that leads to RootCAs. Options that concern certificates apply. Give it to a
// program that is a host of this internet.
func (inet *Internet) IssueCertificate(name string, options ...Option) tls.Certificate {
	b := behave(0, options)
	return inet.issueChain(normal(name), newKey(b.rsaKey), b).certificate()
}
