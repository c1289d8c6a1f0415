package delivery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
)

// S3, S4, S5, SMTP-4, EAI-10, DSN-13: for all combinations of what a server offers and what
// a message needs, a parameter is sent if the server offers its extension and the message
// needs it, and a message that needs what is not offered is not sent. Other extensions are
// not used even if they are offered, such as BDAT (RFC 3030).
func TestS4EveryCombination(t *testing.T) {
	t.Parallel()
	extensions := []string{"8BITMIME", "SMTPUTF8", "SIZE 1000", "DSN", "PIPELINING"}
	for offered := range 1 << len(extensions) {
		var keywords []string
		has := make(map[string]bool)
		for i, extension := range extensions {
			if offered>>i&1 == 1 {
				keyword, _, _ := strings.Cut(extension, " ")
				has[keyword] = true
				keywords = append(keywords, mixed(extension))
			}
		}
		keywords = append(keywords, "CHUNKING", "BINARYMIME", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE 1 2", "BURL", "REQUIRETLS", "AUTH PLAIN", "ETRN", "VRFY", "STARTTLSX", "X-8BITMIME")
		synctest.Test(t, func(t *testing.T) {
			for _, text := range []string{letter, bodyOf8Bit, headerOf8Bit, headerOf8Bit + "\xff\n", strings.Repeat("x\n", 600)} {
				for _, from := range []string{"s@example.net", "", "ü@example.net", "s@bücher.example"} {
					for _, to := range []string{"x@a.example", "ü@a.example"} {
						holdToExtensions(t, keywords, has, text, from, to)
					}
				}
			}
		})
	}
}

func holdToExtensions(t *testing.T, keywords []string, has map[string]bool, text, from, to string) {
	t.Helper()
	where := fmt.Sprintf("%.10q from %q to %q, offered %q", text, from, to, keywords)
	w := oneHost(offering(keywords...))
	mail := mailOf(text, to)
	mail.From, mail.Return, mail.EnvelopeID = from, ReturnHeaders, "1"
	mail.To[0].Notify = NotifyDelay
	_, err := w.serving(t, policy.Config{}).Send(t.Context(), mail)

	international := strings.Contains(from, "ü@") || strings.Contains(to, "ü") || strings.HasPrefix(text, headerOf8Bit)
	body8bit := text == bodyOf8Bit || strings.HasSuffix(text, "\xff\n")
	refusal := ""
	switch {
	case international && !has["SMTPUTF8"]:
		refusal = "5.6.7"
	case body8bit && !has["8BITMIME"]:
		refusal = "5.6.3"
	case len(text) > 1000 && has["SIZE"]:
		refusal = "5.3.4"
	}
	commands := w.commands("192.0.2.1")
	if refusal != "" {
		var failed *SendError
		if !errors.As(err, &failed) || failed.Undelivered[0].Err.Status != refusal || commands != "" {
			t.Errorf("%s: error %v, want %s; the server heard %s", where, err, refusal, commands)
		}
		return
	}
	var want []string
	if has["SIZE"] {
		want = append(want, "SIZE")
	}
	if has["8BITMIME"] && (body8bit || strings.HasPrefix(text, headerOf8Bit)) {
		want = append(want, "BODY=8BITMIME")
	}
	if international {
		want = append(want, "SMTPUTF8")
	}
	notify := ""
	if has["DSN"] {
		notify = " NOTIFY=DELAY"
		if from != "" {
			want = append(want, "RET=HDRS")
		}
		want = append(want, "ENVID=1")
	}
	lines := strings.Split(commands, "|")
	if err != nil || len(lines) != 3 || lines[1] != "RCPT TO:<"+to+">"+notify || lines[2] != "DATA" {
		t.Fatalf("%s: error %v; the server heard %s", where, err, commands)
	}
	_, parameters, _ := strings.Cut(lines[0], ">")
	got := strings.Fields(parameters)
	for i := range got {
		if strings.HasPrefix(got[i], "SIZE=") {
			got[i] = "SIZE"
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: parameters %q, want %q", where, got, want)
	}
}
