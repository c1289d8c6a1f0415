package dnsserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
)

// A Signer is a program that signs zones.
type Signer string

// The signers of BIND, of ldns (as used beside nsd) and of Knot DNS.
const (
	BIND Signer = "dnssec-signzone"
	LDNS Signer = "ldns-signzone"
	Knot Signer = "knotd"
)

// Signing configures how a zone is signed.
type Signing struct {
	Signer     Signer
	Algorithms []uint8 // one key pair for each
	Bits       int     // of an RSA key; 0 means 2048
	SingleKey  bool    // one key signs everything, instead of a key-signing key and a zone-signing key
	NSEC3      bool
	OptOut     bool
	Iterations int    // additional hash iterations of NSEC3
	Salt       string // hexadecimal salt of NSEC3
	// Inception and Expiration are the validity of the signatures. The zero
	// values mean one hour ago and one month from now. Knot DNS always uses the
	// current time as the inception.
	Inception, Expiration time.Time
}

// Sign signs the original zone. It creates keys the first time and uses them
// again later.
func (z *Zone) Sign(t testing.TB, s Signing) {
	t.Helper()
	if s.Inception.IsZero() {
		s.Inception = time.Now().Add(-time.Hour)
	}
	if s.Expiration.IsZero() {
		s.Expiration = time.Now().Add(30 * 24 * time.Hour)
	}
	if s.Bits == 0 {
		s.Bits = 2048
	}
	unsigned := filepath.Join(z.keyDir, "unsigned")
	signed := filepath.Join(z.keyDir, "signed")
	WriteFile(t, unsigned, z.unsigned)
	switch s.Signer {
	case BIND:
		z.signBIND(t, s, unsigned, signed)
	case LDNS:
		z.signLDNS(t, s, unsigned, signed)
	case Knot:
		z.signKnot(t, s, signed)
	default:
		t.Fatalf("no signer %q", s.Signer)
	}
	text, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	z.Records = parse(t, z.Name, string(text))
}

// signBIND uses smart signing, in which dnssec-signzone finds the keys.
func (z *Zone) signBIND(t testing.TB, s Signing, unsigned, signed string) {
	t.Helper()
	if len(z.keyFiles(t)) == 0 {
		keygen := interop.Need(t, "dnssec-keygen")
		for _, algorithm := range s.Algorithms {
			args := []string{"-q", "-K", z.keyDir, "-a", dns.AlgorithmToString[algorithm]}
			if isRSA(algorithm) {
				args = append(args, "-b", strconv.Itoa(s.Bits))
			}
			daemon.Run(t, z.keyDir, keygen, append(args, "-f", "KSK", z.Name)...)
			if !s.SingleKey {
				daemon.Run(t, z.keyDir, keygen, append(args, z.Name)...)
			}
		}
	}
	// -P disables the verification after signing, which rejects expired
	// signatures.
	args := []string{"-S", "-P", "-K", z.keyDir, "-d", z.keyDir, "-o", z.Name, "-f", signed,
		"-s", stamp(s.Inception), "-e", stamp(s.Expiration)}
	if s.SingleKey {
		args = append(args, "-z")
	}
	if s.NSEC3 {
		args = append(args, "-3", saltOrDash(s.Salt), "-H", strconv.Itoa(s.Iterations))
	}
	if s.OptOut {
		args = append(args, "-A")
	}
	daemon.Run(t, z.keyDir, interop.Need(t, "dnssec-signzone"), append(args, unsigned)...)
}

func (z *Zone) signLDNS(t testing.TB, s Signing, unsigned, signed string) {
	t.Helper()
	if len(z.keyFiles(t)) == 0 {
		keygen := interop.Need(t, "ldns-keygen")
		for _, algorithm := range s.Algorithms {
			args := []string{"-a", dns.AlgorithmToString[algorithm], "-b", strconv.Itoa(s.Bits)}
			daemon.Run(t, z.keyDir, keygen, append(append([]string{"-k"}, args...), z.Name)...)
			if !s.SingleKey {
				daemon.Run(t, z.keyDir, keygen, append(args, z.Name)...)
			}
		}
	}
	args := []string{"-o", z.Name, "-f", signed, "-i", stamp(s.Inception), "-e", stamp(s.Expiration)}
	if s.NSEC3 {
		args = append(args, "-n", "-t", strconv.Itoa(s.Iterations))
		if s.Salt != "" {
			args = append(args, "-s", s.Salt)
		}
	}
	if s.OptOut {
		args = append(args, "-p")
	}
	args = append(args, unsigned)
	daemon.Run(t, z.keyDir, interop.Need(t, "ldns-signzone"), append(args, z.keyFiles(t)...)...)
}

// signKnot signs the zone with knotd, which writes it to its zone file.
func (z *Zone) signKnot(t testing.TB, s Signing, signed string) {
	t.Helper()
	knotd := interop.Need(t, "knotd")
	WriteFile(t, signed, z.unsigned)
	port := daemon.FreePort(t)
	config := filepath.Join(z.keyDir, "knot.conf")
	WriteFile(t, config, knotConfig(z.keyDir, port)+fmt.Sprintf(`
policy:
  - id: sign
    algorithm: %s
    single-type-signing: %s
    nsec3: %s
    nsec3-opt-out: %s
    nsec3-iterations: %d
    nsec3-salt-length: %d
zone:
  - domain: %s
    file: %q
    zonefile-sync: 0
    dnssec-signing: on
    dnssec-policy: sign
`, knotAlgorithm(t, s.Algorithms), onOff(s.SingleKey), onOff(s.NSEC3), onOff(s.OptOut),
		s.Iterations, len(s.Salt)/2, z.Name, signed))
	daemon.Start(t, func() error {
		text, err := os.ReadFile(signed)
		if err == nil && !strings.Contains(string(text), "RRSIG") {
			err = fmt.Errorf("zone file of %s is not signed", z.Name)
		}
		return err
	}, knotd, "-c", config)
}

// KnotOnline serves the zone with knotd, which signs each answer on demand and
// denies with minimally covering NSEC records. It returns the port on 127.0.0.1
// and sets z.Keys.
func KnotOnline(t testing.TB, z *Zone) int {
	t.Helper()
	knotd := interop.Need(t, "knotd")
	file := filepath.Join(z.keyDir, "zone")
	WriteFile(t, file, z.unsigned)
	port := daemon.FreePort(t)
	config := filepath.Join(z.keyDir, "knot.conf")
	WriteFile(t, config, knotConfig(z.keyDir, port)+fmt.Sprintf(`
policy:
  - id: sign
    algorithm: ecdsap256sha256
    single-type-signing: on
mod-onlinesign:
  - id: online
    policy: sign
zone:
  - domain: %s
    file: %q
    module: mod-onlinesign/online
`, z.Name, file))
	daemon.Start(t, func() error {
		reply, err := Ask(port, new(dns.Msg).SetQuestion(z.Name, dns.TypeDNSKEY))
		if err != nil {
			return err
		}
		z.Records = reply.Answer
		if len(z.Keys()) == 0 {
			return fmt.Errorf("no key of %s", z.Name)
		}
		return nil
	}, knotd, "-c", config)
	return port
}

func knotConfig(dir string, port int) string {
	return fmt.Sprintf(`server:
  rundir: %[1]q
  listen: 127.0.0.1@%[2]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: %[1]q
log:
  - target: stderr
    any: notice
control:
  listen: "%[1]s/knot.sock"
`, dir, port)
}

func knotAlgorithm(t testing.TB, algorithms []uint8) string {
	t.Helper()
	if len(algorithms) != 1 {
		t.Fatalf("knotd signs with one algorithm, not %d", len(algorithms))
	}
	return strings.ToLower(dns.AlgorithmToString[algorithms[0]])
}

// keyFiles returns the base names of the zone's key pairs.
func (z *Zone) keyFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(z.keyDir, "K*.private"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(file, ".private")
	}
	return files
}

func isRSA(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		return true
	default:
		return false
	}
}

func stamp(t time.Time) string { return t.UTC().Format("20060102150405") }

func saltOrDash(salt string) string {
	if salt == "" {
		return "-"
	}
	return salt
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
