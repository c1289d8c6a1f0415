// Package tlsa is "mxseal tlsa": it prints the TLSA records to publish for certificates, and
// compares them with those that are published.
package tlsa

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
)

const help = `usage: mxseal tlsa [options] CERTIFICATE

Prints the TLSA record to publish for a certificate. The file is in PEM or DER,
and may have the issuers behind the certificate, as servers use it. "-" is
standard input.

  -host NAME    the name of the mail host; also compares with what is published
  -port PORT    the port of the mail host (25)
  -issuer       the record of the issuer (2 1 1) instead of the key (3 1 1):
                it stays valid for new keys, and needs the issuer in the file
  -offline      do not compare
  -server ADDR, -anchor FILE, -zone ZONE=SERVER,..., -hosts FILE, -allow NET,
  -ca FILE      the network, as in "mxseal help check"

To change a key, publish the record of the new one beside the old one, wait for
twice the TTL, install the certificate, and remove the old record.

Exit status:
  0  the record was printed; with -host, it is published
  1  it is not published     2  wrong usage, or a file that cannot be used
  4  the lookup failed
`

const (
	exitPublished = 0
	exitMissing   = 1
	exitFailed    = 4

	lookupTimeout = time.Minute
	maxFile       = 1 << 20 // octets of a file of certificates
)

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "tlsa", Summary: "print the TLSA record for a certificate", Help: help, Run: run}
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	var network cli.Network
	flags := cli.NewFlags(Command())
	network.Register(flags)
	host := flags.String("host", "", "")
	port := flags.Uint("port", 25, "")
	issuer := flags.Bool("issuer", false, "")
	offline := flags.Bool("offline", false, "")
	files, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitPublished
	case err != nil:
		return cli.ExitUsage
	case len(files) != 1:
		flags.Wrong(env, errors.New("want one file"))
		return cli.ExitUsage
	case *port == 0 || *port > 65535:
		flags.Wrong(env, errors.New("-port is not a number from 1 to 65535"))
		return cli.ExitUsage
	}
	record, err := recordOf(env.Stdin, files[0], *issuer)
	if err != nil {
		flags.Complain(env, err)
		return cli.ExitUsage
	}
	if *host == "" {
		fmt.Fprintln(env.Stdout, record)
		return exitPublished
	}
	fmt.Fprintf(env.Stdout, "%s IN TLSA %s\n", dane.RecordName(*host, uint16(*port)), record)
	if *offline {
		return exitPublished
	}
	sender, err := network.Open(env)
	if err != nil {
		flags.Complain(env, err)
		return cli.ExitUsage
	}
	defer sender.Close()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := dane.Discover(ctx, sender.DNS, *host, uint16(*port))
	if err != nil {
		flags.Complain(env, err)
		return exitFailed
	}
	return compare(env.Stdout, found, record)
}

// recordOf returns the record for the first certificate in a file, or for its issuer.
func recordOf(stdin io.Reader, name string, issuer bool) (dane.Record, error) {
	chain, err := read(stdin, name)
	if err != nil {
		return dane.Record{}, fmt.Errorf("%s: %w", name, err)
	}
	if !issuer {
		return dane.NewRecord(chain[0], dane.DANEEE, dane.SPKI, dane.SHA256)
	}
	for _, cert := range chain[1:] {
		if chain[0].CheckSignatureFrom(cert) == nil {
			return dane.NewRecord(cert, dane.DANETA, dane.SPKI, dane.SHA256)
		}
	}
	return dane.Record{}, fmt.Errorf("%s has no certificate of the issuer %s", name, chain[0].Issuer)
}

// read reads the certificates in a file, in PEM or DER.
func read(stdin io.Reader, name string) ([]*x509.Certificate, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		stdin = file
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, errors.New("the file is too large for certificates")
	case !bytes.Contains(text, []byte("-----BEGIN")):
		return x509.ParseCertificates(text)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // keys are often in the same file
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in the file")
	}
	return chain, nil
}

// compare says how the record compares with those that are published.
func compare(w io.Writer, found *dane.Discovery, record dane.Record) int {
	present := false
	for _, r := range found.Records {
		state := "another certificate, an old or a new one"
		if r.String() == record.String() {
			present, state = true, "this certificate"
		}
		fmt.Fprintf(w, "published at %s: %s: %s\n", cli.Clean(found.BaseDomain), r, state)
	}
	for _, skip := range dane.Skipped(found.Records) {
		fmt.Fprintf(w, "not used by senders: %s: %s\n", skip.Record, skip.Reason)
	}
	switch {
	case found.State == dane.NotApplicable:
		fmt.Fprintln(w, "the addresses of the host are not signed (DNSSEC), so senders would ignore the record")
	case present:
		fmt.Fprintln(w, "the record is published")
		return exitPublished
	case len(found.Records) > 0:
		fmt.Fprintln(w, "the record is not published: publish it beside the others before you install the certificate")
	default:
		fmt.Fprintln(w, "the host has no TLSA records: publish the record while the certificate is installed")
	}
	return exitMissing
}
