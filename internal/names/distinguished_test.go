package names_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

// parsed returns a name as it is in a certificate that was parsed.
func parsed(t *testing.T, name pkix.Name) pkix.Name {
	t.Helper()
	der, err := asn1.Marshal(name.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	var sequence pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &sequence); err != nil {
		t.Fatal(err)
	}
	var read pkix.Name
	read.FillFromRDNSequence(&sequence)
	return read
}

func TestDistinguished(t *testing.T) {
	t.Parallel()
	for _, name := range []pkix.Name{
		{},
		{CommonName: "mx.example.org"},
		{Country: []string{"DE"}, Organization: []string{"Example, Ltd."}, OrganizationalUnit: []string{"a", "b"}, CommonName: "mx", SerialNumber: "7"},
	} {
		read := parsed(t, name)
		if got, want := names.Distinguished(read), read.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := names.Distinguished(name); got != name.String() { // of a template
			t.Errorf("%q, want %q", got, name)
		}
	}
}

// The work for a name with thousands of attributes is that for a few.
func TestDistinguishedIsBounded(t *testing.T) {
	many := pkix.Name{}
	for i := range 5000 {
		many.ExtraNames = append(many.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 12}, Value: strconv.Itoa(i)})
	}
	read := parsed(t, many)
	if got := names.Distinguished(read); !strings.HasPrefix(got, "2.5.4.12=#130434393939,2.5.4.12=#") || strings.Count(got, ",") != 15 {
		t.Errorf("%q", got)
	}
	if allocs := testing.AllocsPerRun(1, func() { names.Distinguished(read) }); allocs > 1000 {
		t.Errorf("%v allocations", allocs)
	}
}
