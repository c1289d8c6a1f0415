package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	noURL := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(noURL, []byte("http://relay:secret@here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "-dkim-selector"},
		{"-x", 2, "-x"},
		{"there", 2, `unexpected argument "there"`},
		{"-max-size 0", 2, "-max-size"},
		{"-store a -valkey b", 2, "cannot be used together"},
		{"-dkim-key a", 2, "require -contact"},
		{"-organization a", 2, "require -contact"},
		{"-contact a@b.test -dkim-record", 2, "requires -dkim-key"},
		{"-contact nobody", 1, "Contact"},
		{"-contact a@b.test -dkim-key /nonexistent", 1, "/nonexistent"},
		{"-server dns.example", 1, "dns.example"},
		{"-anchor /nonexistent", 1, "/nonexistent"},
		{"-store /nonexistent/store.db", 1, "/nonexistent/store.db"},
		{"-valkey /nonexistent", 1, "/nonexistent"},
		{"-valkey " + noURL, 1, "no server URL"},
		{"-listen 0.0.0.0:0", 1, "not a loopback address"},
		{"-listen nonsense", 1, "nonsense"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(test.args), &stderr, &stderr, deps{open: openStores})
		if code != test.code || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s: exit status %d, want %d and %q: %s", test.args, code, test.code, test.want, stderr.String())
		}
		if strings.Contains(stderr.String(), "secret") {
			t.Errorf("%s: the output contains a password", test.args)
		}
	}
}

// MTA-STS policies in the file survive a restart of the relay. A policy that
// was seen before protects although DNS replies are forged.
func TestStoreOutlivesTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.open = openStores
	store := filepath.Join(t.TempDir(), "state.db")
	mx := stsDomain(w, "sts.test")
	first := w.start(t, "-store", store)
	if err := first.send("you@sts.test", greeting); err != nil {
		t.Fatal(err)
	}
	first.end(t)
	hidePolicy(w, "sts.test", mx)
	if err := w.start(t, "-store", store).send("you@sts.test", greeting); err == nil {
		t.Error("sent in clear")
	}
	if err := w.start(t).send("you@sts.test", greeting); err != nil {
		t.Errorf("without the policy: %v", err)
	}
}
