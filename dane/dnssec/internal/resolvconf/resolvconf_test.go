package resolvconf

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// D13: a bad line is skipped and reported, and the others count.
func TestD13BadLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		servers  string
		problems []string
	}{
		"": {"[]", nil},
		"nameserver 192.0.2.1\nnameserver resolver\nnameserver 192.0.2.2\n": {
			"[192.0.2.1:53 192.0.2.2:53]", []string{`line 2: nameserver "resolver" is not an IP address`}},
		"nameserver\nnameserver ::1": {"[[::1]:53]", []string{"line 1: nameserver without an address"}},
		"nameserver 192.0.2.1:0\nnameserver 192.0.2.1:5353\nnameserver [::1]:5353\nnameserver [::2]\n": {
			"[192.0.2.1:5353 [::1]:5353 [::2]:53]", []string{`line 1: nameserver "192.0.2.1:0" is not an IP address`}},
		"nameserver fe80::1%eth0\nnameserver 192.0.2.1 # the router\n": {"[[fe80::1%eth0]:53 192.0.2.1:53]", nil},
		"nameserver 192.0.2.1\nnameserver 192.0.2.1\n":                 {"[192.0.2.1:53]", nil},
		// The author of the file must not choose the name in a certificate.
		"nameserver tls://192.0.2.1#evil.example\n": {"[]", []string{`line 1: nameserver "tls://192.0.2.1#evil.example" is not an IP address`}},
		"nameserver \x1b[31m\n":                     {"[]", []string{`line 1: nameserver "\x1b[31m" is not an IP address`}},
		"#nameserver 192.0.2.1\n; nameserver 192.0.2.2\n nameserver 192.0.2.3\nNAMESERVER 192.0.2.4\nnameservers 192.0.2.5\n": {"[]", nil},
		"search example.org\nsortlist 192.0.2.0/24\nunknown\noptions timeout:x\nnameserver\t192.0.2.1\r\n": {
			"[192.0.2.1:53]", []string{`line 4: the option "timeout:x" is not a positive number`}},
	} {
		f, err := Read(strings.NewReader(text))
		if err != nil || fmt.Sprint(f.Servers) != want.servers || !reflect.DeepEqual(f.Problems, want.problems) {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
		if listed := want.servers != "[]" || want.problems != nil; f.Listed != listed {
			t.Errorf("%q: listed is %v", text, f.Listed)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]File{
		"options timeout:2 attempts:3 rotate use-vc trust-ad edns0\n": {Timeout: 2 * time.Second, Attempts: 3, Rotate: true, UseTCP: true, TrustAD: true},
		"options timeout:31 attempts:6\n":                             {Timeout: 30 * time.Second, Attempts: 5},
		"options timeout:1\noptions attempts:1\noptions rotate":       {Timeout: time.Second, Attempts: 1, Rotate: true},
		"options ndots:5 no-trust-ad trust-ads\n":                     {},
		"# options trust-ad\n;options trust-ad\n options trust-ad\n":  {},
		"options\n": {},
	} {
		f, err := Read(strings.NewReader(text))
		if err != nil || !reflect.DeepEqual(*f, want) {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
	for _, bad := range []string{"timeout:0", "timeout:-1", "attempts:", "attempts:99999999999999999999"} {
		f, err := Read(strings.NewReader("options " + bad + "\n"))
		if err != nil || len(f.Problems) != 1 || f.Timeout != 0 || f.Attempts != 0 {
			t.Errorf("%s: %+v, %v", bad, f, err)
		}
	}
}

// A file is bounded, and so is what is kept of it.
func TestBounds(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "nameserver 192.0.2.%d\nnameserver bad%d\n", i, i)
	}
	f, err := Read(strings.NewReader(text.String()))
	if err != nil || len(f.Servers) != maxServers || len(f.Problems) != maxProblems {
		t.Errorf("%d servers, %d problems, %v", len(f.Servers), len(f.Problems), err)
	}
	if f, err := Read(strings.NewReader("#" + strings.Repeat("x", 1<<15) + "\nnameserver ::1\n#" + strings.Repeat("x", 1<<17))); err != nil || len(f.Servers) != 1 {
		t.Errorf("long lines: %+v, %v", f, err)
	}
	failed := errors.New("failed")
	if _, err := Read(iotest.ErrReader(failed)); !errors.Is(err, failed) {
		t.Errorf("error is %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions timeout:2 use-vc trust-ad\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range file.Servers {
			if !s.IsValid() || s.Port() == 0 {
				t.Errorf("server %v", s)
			}
		}
		for _, problem := range file.Problems {
			if strings.ContainsFunc(problem, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("problem %q", problem)
			}
		}
		if file.TrustAD && !strings.Contains(text, "trust-ad") {
			t.Error("trusts without trust-ad")
		}
	})
}
