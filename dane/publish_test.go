package dane_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// DANE-64, DANE-65, TLSA-9: the port in decimal without leading zeros.
func TestRecordName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host string
		port uint16
		want string
	}{
		{"mx.example.org", 25, "_25._tcp.mx.example.org."},
		{"mx.example.org.", 25, "_25._tcp.mx.example.org."},
		{"mx.example.org", 2525, "_2525._tcp.mx.example.org."},
		{"mx.example.org", 65535, "_65535._tcp.mx.example.org."},
	} {
		if got := dane.RecordName(test.host, test.port); got != test.want {
			t.Errorf("RecordName(%q, %d) = %q, want %q", test.host, test.port, got, test.want)
		}
	}
}

// TLSA-2, TLSA-3: the selected part, and its form.
func TestNewRecord(t *testing.T) {
	t.Parallel()
	cert := testpki.SelfSigned(t, mxNames).Cert
	cert256, cert512 := sha256.Sum256(cert.Raw), sha512.Sum512(cert.Raw)
	spki256, spki512 := sha256.Sum256(cert.RawSubjectPublicKeyInfo), sha512.Sum512(cert.RawSubjectPublicKeyInfo)
	for kind, want := range map[string][]byte{
		"3 0 0": cert.Raw, "3 0 1": cert256[:], "3 0 2": cert512[:],
		"2 1 0": cert.RawSubjectPublicKeyInfo, "2 1 1": spki256[:], "2 1 2": spki512[:],
	} {
		if got := newRecord(t, kind, cert).String(); got != kind+" "+hex.EncodeToString(want) {
			t.Errorf("%s: got %s", kind, got)
		}
	}
}

func TestNewRecordRefuses(t *testing.T) {
	t.Parallel()
	cert := testpki.SelfSigned(t, mxNames).Cert
	for _, r := range []dane.Record{
		{Usage: dane.PKIXTA, Selector: dane.SPKI, MatchingType: dane.SHA256},
		{Usage: dane.PKIXEE, Selector: dane.SPKI, MatchingType: dane.SHA256},
		{Usage: 4, Selector: dane.SPKI, MatchingType: dane.SHA256},
		{Usage: dane.DANEEE, Selector: 2, MatchingType: dane.SHA256},
		{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: 3},
	} {
		if got, err := dane.NewRecord(cert, r.Usage, r.Selector, r.MatchingType); err == nil {
			t.Errorf("made %v", got)
		}
	}
	if _, err := dane.NewRecord(nil, dane.DANEEE, dane.SPKI, dane.SHA256); err == nil {
		t.Error("made a record of no certificate")
	}
}
