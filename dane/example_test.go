package dane_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
)

// serverPEM is the certificate of mx.example.org. It expired years ago, which
// does not matter with DANE-EE.
const serverPEM = `-----BEGIN CERTIFICATE-----
MIIBazCCARCgAwIBAgIBATAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5teC5leGFt
cGxlLm9yZzAeFw0yMDAxMDEwMDAwMDBaFw0yMDAxMzEwMDAwMDBaMBkxFzAVBgNV
BAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKPlg
stX2B6i2zAZA7mB24ar/jGWkv4upjdLp+mbkaAKmz05DIw4J+Yfa3RBuzp8keY8h
PXl9kQ8+CrpsLxUP2qNJMEcwGQYDVR0RBBIwEIIObXguZXhhbXBsZS5vcmcwCwYD
VR0PBAQDAgeAMB0GA1UdDgQWBBSahAmN43lRNpHm4DVbY2aLPoYB4zAKBggqhkjO
PQQDAgNJADBGAiEAqH3Lnv38o2UVDuJMkhA2pE4IZ5kCf3x7DeEbsG1zUI8CIQCZ
I7bZHIdK4YR57YinPHeqg86RQpiMjAR48fhatTlYcg==
-----END CERTIFICATE-----`

func serverCertificate() *x509.Certificate {
	block, _ := pem.Decode([]byte(serverPEM))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	return cert
}

// The record that a mail server's operator should publish.
func ExampleNewRecord() {
	record, err := dane.NewRecord(serverCertificate(), dane.DANEEE, dane.SPKI, dane.SHA256)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dane.RecordName("mx.example.org", 25), "IN TLSA", record)
	// Output:
	// _25._tcp.mx.example.org. IN TLSA 3 1 1 026e6cbda0e49a285466515b027d9be89f4b89514ec26912aebf0fe74595adda
}

// The certificates come from tls.ConnectionState.PeerCertificates, the records
// and the names from Discover and ReferenceNames.
func ExampleVerify() {
	chain := []*x509.Certificate{serverCertificate()}
	var records []dane.Record
	for _, s := range []string{
		"3 1 1 0000000000000000000000000000000000000000000000000000000000000000", // the next key
		"3 1 1 026e6cbda0e49a285466515b027d9be89f4b89514ec26912aebf0fe74595adda", // the key in use
	} {
		record, err := dane.ParseRecord(s)
		if err != nil {
			log.Fatal(err)
		}
		records = append(records, record)
	}
	names := dane.ReferenceNames("mx.example.org", dane.Route{Secure: true, NextHop: "example.org"})

	match, err := dane.Verify(chain, records, names, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("authenticated by", match.Record.Acronyms())

	_, err = dane.Verify(chain, records[:1], names, time.Now())
	fmt.Println(err)
	// Output:
	// authenticated by DANE-EE SPKI SHA2-256 026e6cbda0e49a285466515b027d9be89f4b89514ec26912aebf0fe74595adda
	// dane: no TLSA record authenticates the server: 3 1 1 0000000000000000...: does not match: certificate "CN=mx.example.org"
}

// An RRset in the middle of a change from SHA2-256 to SHA2-512, with a record
// for web browsers in it by mistake.
func ExampleSelect() {
	var records []dane.Record
	for _, s := range []string{
		"1 1 1 " + strings.Repeat("01", 32),
		"3 1 1 " + strings.Repeat("02", 32),
		"3 1 2 " + strings.Repeat("03", 64),
		"2 0 1 " + strings.Repeat("04", 32),
	} {
		record, err := dane.ParseRecord(s)
		if err != nil {
			log.Fatal(err)
		}
		records = append(records, record)
	}
	for _, record := range dane.Select(records) {
		fmt.Println(record.Usage, record.Selector, record.MatchingType)
	}
	// Output:
	// DANE-EE SPKI SHA2-512
	// DANE-TA Cert SHA2-256
}
