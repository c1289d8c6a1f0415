package dane_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// RPT-54 to RPT-58: the report is about the attempt that got furthest.
func TestMismatchIsAboutFurthestAttempt(t *testing.T) {
	t.Parallel()
	root, stranger := testpki.Root(t, "Root"), testpki.Root(t, "Stranger")
	inter := root.Authority(t, "Intermediate")
	good, misnamed, old := root.Server(t, mxNames), root.Server(t, []string{"other.example"}), root.Server(t, mxNames, testpki.Expired)
	ta, wrong := newRecord(t, "2 0 1", root.Cert), newRecord(t, "3 1 1", stranger.Cert)
	for _, test := range []struct {
		what       string
		sent       entities
		records    []dane.Record
		resultType string
	}{
		{"no record matches", entities{good, root}, []dane.Record{wrong}, "tlsa-invalid"},
		{"no trust anchor sent", entities{good}, []dane.Record{ta}, "tlsa-invalid"},
		{"trust anchor of another", entities{good, root, stranger}, []dane.Record{newRecord(t, "2 0 1", stranger.Cert)}, "certificate-not-trusted"},
		{"nothing usable", entities{good, root}, []dane.Record{parse(t, "3 1 1 00")}, "tlsa-invalid"},
		{"no records", entities{good, root}, nil, "tlsa-invalid"},
		{"no certificate", nil, []dane.Record{ta}, "tlsa-invalid"},
		{"wrong name", entities{misnamed, root}, []dane.Record{wrong, ta}, "certificate-host-mismatch"},
		{"expired", entities{old, root}, []dane.Record{wrong, ta, parse(t, "3 1 1 00")}, "certificate-expired"},
		{"intermediate not sent", entities{inter.Server(t, mxNames), root}, []dane.Record{ta}, "certificate-not-trusted"},
	} {
		_, err := dane.Verify(testpki.Chain(test.sent...), test.records, mxNames, testpki.Now)
		if err == nil || err.Error() == "" {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		expectReport(t, test.what, err, test.resultType)
	}
}

// Field note 15: a mismatch is temporary.
func TestMismatchIsTemporary(t *testing.T) {
	t.Parallel()
	_, err := dane.Verify(testpki.Chain(testpki.SelfSigned(t, mxNames)), []dane.Record{parse(t, digest("3 1 1"))}, mxNames, testpki.Now)
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() {
		t.Errorf("%v is not temporary", err)
	}
}

// The text names the record, the certificate and the reason. It is short and
// printable, whatever the server sends.
func TestMismatchTextIsShortAndPrintable(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root\r\n250 OK\x1b[2J"+strings.Repeat("x", 60))
	leaf := root.Server(t, []string{strings.Repeat("n", 5000)}, func(c *x509.Certificate) {
		c.Subject.Organization = []string{strings.Repeat("o\n", 5000)}
	})
	old := root.Server(t, mxNames, testpki.Expired, testpki.CommonName("Old server"))
	records := []dane.Record{newRecord(t, "2 0 0", root.Cert)}
	for range 100 {
		records = append(records, newRecord(t, "3 0 0", root.Cert))
	}
	_, err := dane.Verify(testpki.Chain(leaf, root), records, mxNames, testpki.Now)
	text := err.Error()
	if len(text) > 1500 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%d octets: %q", len(text), text)
	}
	if !strings.HasSuffix(text, "and 97 more") {
		t.Errorf("got %q", text)
	}

	if attempts := errors.Unwrap(err); attempts != nil {
		t.Errorf("Unwrap returns a single error: %v", attempts)
	}
	if attempts := err.(interface{ Unwrap() []error }).Unwrap(); len(attempts) != len(records) {
		t.Errorf("%d of %d attempts in the error", len(attempts), len(records))
	}

	future := root.Server(t, mxNames, testpki.NotYetValid)
	_, err = dane.Verify(testpki.Chain(future, root), []dane.Record{newRecord(t, "2 0 1", root.Cert)}, mxNames, testpki.Now)
	if want := "is not valid yet, but from 2026-03-01 13:00:00"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q is not in %q", want, err)
	}

	_, err = dane.Verify(testpki.Chain(old, root), []dane.Record{newRecord(t, "2 0 1", root.Cert), parse(t, "3 1 1 0102")}, mxNames, testpki.Now)
	for _, want := range []string{"2 0 1 ", `Old server`, "has expired on 2026-03-01 11:00:00", "3 1 1 0102: unusable: the data has 2 octets"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}
