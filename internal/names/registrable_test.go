package names_test

import (
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

func TestRegistrable(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]string{
		"example.com": "example.com", "a.b.example.com": "example.com", "a.example.co.uk": "example.co.uk",
		"co.uk": "co.uk", "com": "com", "": "", "localhost": "localhost", "192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1",
		"a.xn--grn-ioa.example": "xn--grn-ioa.example", "a..com": "a..com", ".com": ".com",
	} {
		if got := names.Registrable(domain); got != want {
			t.Errorf("Registrable(%q) is %q, want %q", domain, got, want)
		}
	}
}
