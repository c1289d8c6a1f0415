package tlsrpt_test

import (
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

// RPT-64: the result types are exactly the registered ones.
func TestResultTypesAreTheRegistered(t *testing.T) {
	t.Parallel()
	want := []string{
		"starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
		"certificate-not-trusted", "validation-failure",
		"tlsa-invalid", "dnssec-invalid", "dane-required",
		"sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
	}
	got := tlsrpt.AllResultTypes()
	if len(got) != len(want) {
		t.Fatalf("%d result types, want %d", len(got), len(want))
	}
	for i := range want {
		if string(got[i]) != want[i] || !got[i].Valid() {
			t.Errorf("result type %q, valid %v, want %q", got[i], got[i].Valid(), want[i])
		}
	}
	for _, other := range []tlsrpt.ResultType{"", "STARTTLS-NOT-SUPPORTED", "sts-policy-invalid ", "tlsa"} {
		if !other.AboutHost() {
			t.Errorf("%q is not about a host", other)
		}
		if other.Valid() {
			t.Errorf("%q is not registered and counts as valid", other)
		}
	}
}
