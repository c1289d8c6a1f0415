package delivery

import (
	"net/smtp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
)

// An attacker on the path, with a certificate of its own, does not get the password (AUTH-13).
func TestAuthNeedsAnAuthenticatedSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.1": {relay(false, certificates().unknown, "PLAIN", "235 ok")}})
		d := w.relayed(t, "587")
		d.SmartHost = nil
		client, err := d.Dial(t.Context(), "example.org", policy.Via("[mx.example.net]:587"))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		err = client.Auth(smtp.PlainAuth("", "user", "secret", "mx.example.net"))
		if said := strings.Join(w.said("192.0.2.1"), "\n"); err == nil || strings.Contains(said, "AUTH") {
			t.Errorf("level %s, error %v; the server got %q", client.Host.Level, err, said)
		}
	})
}
