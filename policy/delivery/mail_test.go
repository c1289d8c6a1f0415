package delivery

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/dsn"
)

// offering is a host without TLS that offers extensions.
func offering(keywords ...string) script {
	return answering(map[string]string{"EHLO": offers(keywords...)})
}

// offers is a reply to EHLO.
func offers(keywords ...string) string {
	reply := "250-mx.example.net\r\n"
	for _, keyword := range keywords {
		reply += "250-" + keyword + "\r\n"
	}
	return reply + "250 HELP\r\n"
}

const (
	bodyOf8Bit   = "From: s@example.net\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
	headerOf8Bit = "From: s@example.net\r\nSubject: Grüße\r\n\r\nHello\r\n"
	signed8Bit   = "From: s@example.net\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; micalg=x; protocol=\"a/b\"\r\n\r\n" +
		"--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"
	notMIME8Bit = "From: s@example.net\r\n\r\nGrüße\r\n"
)

// mailOf is a Mail with the text and recipients.
func mailOf(text string, to ...string) Mail {
	mail := Mail{From: "s@example.net", Message: strings.NewReader(text), Size: int64(len(text))}
	for _, address := range to {
		mail.To = append(mail.To, Recipient{Address: address})
	}
	return mail
}

// commands returns those of a transaction that an address has heard.
func (w *world) commands(addr string) string {
	var commands []string
	for _, line := range w.said(addr) {
		if verb, _, _ := strings.Cut(line, " "); slices.Contains([]string{"MAIL", "RCPT", "DATA", "RSET"}, verb) {
			commands = append(commands, line)
		}
	}
	return strings.Join(commands, "|")
}

// TestS4ParametersOnlyWhereNeeded: SMTP-4: extensions are requested only for mail that needs them, and from
// servers that offer them, in any case (S3).
func TestS4ParametersOnlyWhereNeeded(t *testing.T) {
	t.Parallel()
	everything := []string{"smtputf8", "8BitMime", "Size 1000", "dsn", "REQUIRETLS"}
	for name, test := range map[string]struct {
		text   string
		from   string
		to     string
		offers []string
		change func(*Mail)
		want   string // of MAIL and RCPT, without "FROM:<s@example.net>"
	}{
		"SMTP-4 nothing offered":           {letter, "s@example.net", "x@a.example", nil, nil, "MAIL FROM:<s@example.net>|RCPT TO:<x@a.example>|DATA"},
		"EAI-3 ASCII":                      {letter, "s@example.net", "x@a.example", everything, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"EAI-4 U-labels only":              {letter, "s@bücher.example", "x@a.example", everything, nil, "MAIL FROM:<s@xn--bcher-kva.example> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"EAI-1 international sender":       {letter, "jürgen@example.net", "x@a.example", everything, nil, "MAIL FROM:<jürgen@example.net> SIZE=52 SMTPUTF8|RCPT TO:<x@a.example>|DATA"},
		"EAI-1 international recipient":    {letter, "s@example.net", "jürgen@a.example", everything, nil, "MAIL FROM:<s@example.net> SIZE=52 SMTPUTF8|RCPT TO:<jürgen@a.example>|DATA"},
		"EAI-1, BODY-2 8-bit header":       {headerOf8Bit, "s@example.net", "x@a.example", everything, nil, "MAIL FROM:<s@example.net> SIZE=48 BODY=8BITMIME SMTPUTF8|RCPT TO:<x@a.example>|DATA"},
		"EAI-5 parameters are ignored":     {headerOf8Bit, "s@example.net", "x@a.example", []string{"SMTPUTF8 x y"}, nil, "MAIL FROM:<s@example.net> SMTPUTF8|RCPT TO:<x@a.example>|DATA"},
		"BODY-1 8-bit body":                {bodyOf8Bit, "s@example.net", "x@a.example", everything, nil, "MAIL FROM:<s@example.net> SIZE=125 BODY=8BITMIME|RCPT TO:<x@a.example>|DATA"},
		"SIZE-1 no limit":                  {letter, "s@example.net", "x@a.example", []string{"SIZE"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 a limit of 0":              {letter, "s@example.net", "x@a.example", []string{"SIZE 0"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-3 the limit itself":          {letter, "s@example.net", "x@a.example", []string{"SIZE 52"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 no number":                 {letter, "s@example.net", "x@a.example", []string{"SIZE many"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 twenty digits":             {letter, "s@example.net", "x@a.example", []string{"SIZE 99999999999999999999"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 a sign":                    {letter, "s@example.net", "x@a.example", []string{"SIZE +1"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 a negative number":         {letter, "s@example.net", "x@a.example", []string{"SIZE -1"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 two numbers":               {letter, "s@example.net", "x@a.example", []string{"SIZE 1 2"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-2 of the largest integers":   {letter, "s@example.net", "x@a.example", []string{"SIZE 9223372036854775808"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-3 zeros before the limit":    {letter, "s@example.net", "x@a.example", []string{"size  00000000000000000052 "}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"SIZE-3 the first line counts":     {letter, "s@example.net", "x@a.example", []string{"SIZE 52", "SIZE 1"}, nil, "MAIL FROM:<s@example.net> SIZE=52|RCPT TO:<x@a.example>|DATA"},
		"brackets":                         {letter, "<s@example.net>", "<x@a.example>", nil, nil, "MAIL FROM:<s@example.net>|RCPT TO:<x@a.example>|DATA"},
		"SMTP-6 empty return path":         {letter, "", "x@a.example", nil, nil, "MAIL FROM:<>|RCPT TO:<x@a.example>|DATA"},
		"empty return path in brackets":    {letter, "<>", "x@a.example", nil, nil, "MAIL FROM:<>|RCPT TO:<x@a.example>|DATA"},
		"DSN-1 not offered":                {letter, "s@example.net", "x@a.example", nil, withDSN, "MAIL FROM:<s@example.net>|RCPT TO:<x@a.example>|DATA"},
		"DSN-2, DSN-3, DSN-4, DSN-5 all":   {letter, "s@example.net", "x@a.example", []string{"DSN"}, withDSN, "MAIL FROM:<s@example.net> RET=FULL ENVID=QQ+2B1|RCPT TO:<x@a.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+3Dx@b.example|DATA"},
		"DSN-6 no RET in a notification":   {letter, "", "x@a.example", []string{"DSN"}, withDSN, "MAIL FROM:<> ENVID=QQ+2B1|RCPT TO:<x@a.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+3Dx@b.example|DATA"},
		"DSN-14 offered and not asked for": {letter, "s@example.net", "x@a.example", []string{"DSN"}, nil, "MAIL FROM:<s@example.net>|RCPT TO:<x@a.example>|DATA"},
		"DSN-15 an original in any case":   {letter, "s@example.net", "x@a.example", []string{"DSN"}, func(m *Mail) { m.To[0].Original.Mailbox = "First.X@B.Example" }, "MAIL FROM:<s@example.net>|RCPT TO:<x@a.example> ORCPT=rfc822;First.X@B.Example|DATA"},
		"DSN-7 never":                      {letter, "s@example.net", "x@a.example", []string{"DSN"}, func(m *Mail) { m.To[0].Notify = NotifyNever }, "MAIL FROM:<s@example.net>|RCPT TO:<x@a.example> NOTIFY=NEVER|DATA"},
		"DSN-5 international original":     {letter, "s@example.net", "x@a.example", []string{"DSN"}, func(m *Mail) { m.To[0].Original.Mailbox = "ü@b.example" }, `MAIL FROM:<s@example.net>|RCPT TO:<x@a.example> ORCPT=utf-8;\x{FC}@b.example|DATA`},
		"SIZE-4 line ends count as two":    {"Subject: x\n\nabc\n", "s@example.net", "x@a.example", []string{"SIZE"}, nil, "MAIL FROM:<s@example.net> SIZE=19|RCPT TO:<x@a.example>|DATA"},
		"SIZE-5 doubled dots do not count": {"Subject: x\r\n\r\n...\r\n", "s@example.net", "x@a.example", []string{"SIZE"}, nil, "MAIL FROM:<s@example.net> SIZE=19|RCPT TO:<x@a.example>|DATA"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(offering(test.offers...))
				mail := mailOf(test.text, test.to)
				mail.From = test.from
				if test.change != nil {
					test.change(&mail)
				}
				if _, err := w.serving(t, policy.Config{}).Send(t.Context(), mail); err != nil {
					t.Error(err)
				}
				if got := w.commands("192.0.2.1"); got != test.want {
					t.Errorf("server heard\n%s, want\n%s", got, test.want)
				}
			})
		})
	}
}

func withDSN(m *Mail) {
	m.Return, m.EnvelopeID = ReturnFull, "QQ+1"
	m.To[0].Notify, m.To[0].Original = NotifySuccess|NotifyFailure, Address{Mailbox: "first=x@b.example"}
}

// DSN-8: the parameters that ask for more than the RFC has are the caller's error.
func TestMalformedParameters(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Mail)
		want   string
	}{
		"return":           {func(m *Mail) { m.Return = 9 }, "x@a.example: 501 5.5.4"},
		"envelope ID":      {func(m *Mail) { m.EnvelopeID = "a\nb" }, "x@a.example: 501 5.5.4"},
		"long envelope ID": {func(m *Mail) { m.EnvelopeID = strings.Repeat("a", 101) }, "x@a.example: 501 5.5.4"},
		"notify":           {func(m *Mail) { m.To[0].Notify = NotifyNever | NotifyDelay }, "x@a.example: 501 5.5.4"},
		"original":         {func(m *Mail) { m.To[0].Original.Mailbox = "a\nb" }, "x@a.example: 501 5.5.4"},
		"no message":       {func(m *Mail) { m.Message = nil }, "x@a.example: 451 4.3.0"},
		"a negative size":  {func(m *Mail) { m.Size = -1 }, "x@a.example: 451 4.3.0"},
		"a short message":  {func(m *Mail) { m.Size++ }, "x@a.example: 451 4.3.0"},
		"a forgotten size": {func(m *Mail) { m.Size = 0 }, "x@a.example: 451 4.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(nil)
			mail := mailOf(letter, "x@a.example")
			test.change(&mail)
			_, err := w.serving(t, policy.Config{}).Send(t.Context(), mail)
			if got := failures(t, err); !slices.Equal(got, []string{test.want}) || len(w.dialed) > 0 {
				t.Errorf("failures %q, want %q; dialed %q", got, test.want, w.dialed)
			}
		})
	}
}

func TestNoRecipients(t *testing.T) {
	t.Parallel()
	w := newWorld(nil)
	if err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", nil, []byte(letter)); !errors.Is(err, ErrNoRecipients) {
		t.Errorf("error %v", err)
	}
}

// SIZE-7, SIZE-8, SIZE-9: a server that has no room for a message gets it later, or
// another host does; one to which it is too large never does, whenever it says so. The
// size that a recipient may receive is the recipient's own.
func TestSizeRefusalNowOrForGood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ verb, reply, want string }{
		"SIZE-7 at MAIL":                   {"MAIL", "452 insufficient system storage", "x@a.example: 452 4.0.0"},
		"SIZE-7 at DATA":                   {"DATA", "452 4.3.1 no room", "x@a.example: 452 4.3.1"},
		"SIZE-7 after the message":         {".", "452 4.3.1 no room", "x@a.example: 452 4.3.1"},
		"SIZE-8 at MAIL":                   {"MAIL", "552 message size exceeds fixed maximum message size", "x@a.example: 552 5.0.0"},
		"SIZE-8 at DATA":                   {"DATA", "552 5.3.4 too big", "x@a.example: 552 5.3.4"},
		"SIZE-8 after the message":         {".", "552 5.3.4 too big", "x@a.example: 552 5.3.4"},
		"SIZE-9 one recipient":             {"RCPT", "552 5.3.4 too big for you", "x@a.example: 552 5.3.4"},
		"SIZE-9 one recipient for now":     {"RCPT", "452 4.2.2 full", "x@a.example: 452 4.2.2"},
		"SIZE-9 one recipient, no details": {"RCPT", "552 too big for you", "x@a.example: 552 5.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(answering(map[string]string{"EHLO": offers("SIZE"), test.verb: test.reply + "\r\n"}))
				err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", []string{"x@a.example"}, []byte(letter))
				if got := failures(t, err); !slices.Equal(got, []string{test.want}) {
					t.Errorf("failures %q, want %q", got, test.want)
				}
				if heard := w.said("192.0.2.1"); heard[len(heard)-1] != "QUIT" {
					t.Errorf("server heard %q", heard)
				}
			})
		})
	}
}

// TestS5MissingExtensions: BODY-3, BODY-4, EAI-6, SIZE-6: a server that lacks what a
// message needs gets none of it. The next host may have it, and only if all lack it is
// the failure permanent. The size limit of a server is its answer, like a 5yz reply. In
// a session that fell back to cleartext (S8), nothing is permanent.
func TestS5MissingExtensions(t *testing.T) {
	t.Parallel()
	// fellBack is a host whose TLS fails.
	broken := script(func(s *server) {
		s.say(greeting)
		s.answer("250-mx\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
	})
	fellBack := func(keywords ...string) []script { return []script{broken, broken, offering(keywords...)} }
	for name, test := range map[string]struct {
		text      string
		to        string
		convert   bool
		first     []script
		second    []script
		want      []string
		delivered string
	}{
		"no 8BITMIME anywhere":          {bodyOf8Bit, "x", false, []script{offering()}, []script{offering()}, []string{"x@two.example: 554 5.6.3"}, ""},
		"8BITMIME at the second":        {bodyOf8Bit, "x", false, []script{offering()}, []script{offering("8BITMIME")}, nil, "192.0.2.2"},
		"second is down":                {bodyOf8Bit, "x", false, []script{offering()}, nil, []string{"x@two.example: 451 4.6.3"}, ""},
		"first is down":                 {bodyOf8Bit, "x", false, nil, []script{offering()}, []string{"x@two.example: 451 4.6.3"}, ""},
		"second is busy":                {bodyOf8Bit, "x", false, []script{offering()}, []script{answering(map[string]string{"EHLO": offers("8BITMIME"), "MAIL": "451 4.3.1 later\r\n"})}, []string{"x@two.example: 451 4.3.1"}, ""},
		"first is busy":                 {bodyOf8Bit, "x", false, []script{answering(map[string]string{"EHLO": offers("8BITMIME"), "MAIL": "451 4.3.1 later\r\n"})}, []script{offering()}, []string{"x@two.example: 451 4.3.1"}, ""},
		"busy: first says 421 at MAIL":  {bodyOf8Bit, "x", false, []script{answering(map[string]string{"EHLO": offers("8BITMIME"), "MAIL": "421 4.3.2 bye\r\n"})}, []script{offering()}, []string{"x@two.example: 451 4.6.3"}, ""},
		"busy: first garbles MAIL":      {bodyOf8Bit, "x", false, []script{answering(map[string]string{"EHLO": offers("8BITMIME"), "MAIL": "what?\r\n"})}, []script{offering()}, []string{"x@two.example: 451 4.6.3"}, ""},
		"busy: first is lost at RCPT":   {bodyOf8Bit, "x", false, []script{answering(map[string]string{"EHLO": offers("8BITMIME"), "RCPT": "421\r\n"})}, []script{offering()}, []string{"x@two.example: 451 4.6.3"}, ""},
		"busy: first is lost at DATA":   {letter, "jürgen", false, []script{answering(map[string]string{"EHLO": offers("SMTPUTF8"), "DATA": "421\r\n"})}, []script{offering()}, []string{"jürgen@two.example: 451 4.6.7"}, ""},
		"busy: second says 421 at MAIL": {bodyOf8Bit, "x", false, []script{offering()}, []script{answering(map[string]string{"EHLO": offers("8BITMIME"), "MAIL": "421 4.3.2 bye\r\n"})}, []string{"x@two.example: 451 4.6.3"}, ""},
		"converted":                     {bodyOf8Bit, "x", true, []script{offering()}, nil, nil, "192.0.2.1"},
		"signed":                        {signed8Bit, "x", true, []script{offering()}, []script{offering()}, []string{"x@two.example: 554 5.6.3"}, ""},
		"not MIME":                      {notMIME8Bit, "x", true, []script{offering()}, []script{offering()}, []string{"x@two.example: 554 5.6.3"}, ""},
		"header without SMTPUTF8":       {headerOf8Bit, "x", true, []script{offering("8BITMIME")}, []script{offering()}, []string{"x@two.example: 554 5.6.7"}, ""},
		"header, SMTPUTF8 at second":    {headerOf8Bit, "x", false, []script{offering("8BITMIME")}, []script{offering("8BITMIME", "SMTPUTF8")}, nil, "192.0.2.2"},
		"recipient without SMTPUTF8":    {letter, "jürgen", false, []script{offering()}, []script{offering()}, []string{"jürgen@two.example: 553 5.6.7"}, ""},
		"recipient, SMTPUTF8 at two":    {letter, "jürgen", false, []script{offering()}, []script{offering("SMTPUTF8")}, nil, "192.0.2.2"},
		"too large":                     {letter, "x", false, []script{offering("SIZE 51")}, []script{offering()}, []string{"x@two.example: 552 5.3.4"}, ""},
		"too large when converted":      {bodyOf8Bit, "x", true, []script{offering("SIZE 136")}, []script{offering()}, []string{"x@two.example: 552 5.3.4"}, ""},
		"fell back, no 8BITMIME":        {bodyOf8Bit, "x", false, fellBack(), []script{offering()}, []string{"x@two.example: 451 4.6.3"}, ""},
		"fell back, too large":          {letter, "x", false, fellBack("SIZE 51"), []script{offering()}, nil, "192.0.2.2"},
		"fell back everywhere, large":   {letter, "x", false, fellBack("SIZE 51"), fellBack("SIZE 51"), []string{"x@two.example: 451 4.3.4"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{"192.0.2.1": test.first, "192.0.2.2": test.second})
				mail := mailOf(test.text, test.to+"@two.example")
				mail.Convert8Bit = test.convert
				result, err := w.serving(t, policy.Config{}).Send(t.Context(), mail)
				if got := failures(t, err); !slices.Equal(got, test.want) {
					t.Errorf("failures %q, want %q\n%v", got, test.want, err)
				}
				var delivered []string
				for _, addr := range []string{"192.0.2.1", "192.0.2.2"} {
					heard := w.said(addr)
					if slices.Contains(heard, ".") {
						delivered = append(delivered, addr)
					} else if slices.ContainsFunc(heard, func(line string) bool { return strings.HasPrefix(line, "MAIL") }) && !strings.Contains(name, "busy") {
						t.Errorf("%s heard %q", addr, heard)
					}
				}
				if got := strings.Join(delivered, " "); got != test.delivered {
					t.Errorf("delivered to %q, want %q", got, test.delivered)
				}
				if test.convert && test.delivered != "" {
					if !result.Delivered[0].Converted || !slices.Contains(w.said("192.0.2.1"), "Gr=C3=BC=C3=9Fe") || !slices.Contains(w.said("192.0.2.1"), "Content-Transfer-Encoding: quoted-printable") {
						t.Errorf("%+v: server heard %q", result.Delivered, w.said("192.0.2.1"))
					}
				}
			})
		})
	}
}

// One recipient that needs SMTPUTF8 does not keep the message from the others.
func TestRecipientsWithAndWithoutSMTPUTF8(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.1": {offering()}, "192.0.2.2": {offering("SMTPUTF8")}})
		if _, err := w.serving(t, policy.Config{}).Send(t.Context(), mailOf(letter, "x@two.example", "jürgen@two.example")); err != nil {
			t.Error(err)
		}
		if got := w.commands("192.0.2.1"); got != "MAIL FROM:<s@example.net>|RCPT TO:<x@two.example>|DATA" {
			t.Errorf("first server heard %s", got)
		}
		if got := w.commands("192.0.2.2"); got != "MAIL FROM:<s@example.net> SMTPUTF8|RCPT TO:<jürgen@two.example>|DATA" {
			t.Errorf("second server heard %s", got)
		}
	})
}

// REQ-24: with RequireTLS, RET=FULL becomes RET=HDRS.
func TestReturnWithRequireTLS(t *testing.T) {
	t.Parallel()
	m := message{dsn: dsn.MailOptions{Return: dsn.ReturnFull}}
	if got := m.mailParameters(true); !slices.Equal(got, []string{"RET=HDRS"}) {
		t.Errorf("parameters %q", got)
	}
}

// changing is a message that is shorter when it is read again.
type changing struct {
	text  string
	reads int
}

func (c *changing) ReadAt(p []byte, at int64) (int, error) {
	text := c.text
	if c.reads++; c.reads > 1 {
		text = text[:len(text)/2]
	}
	return bytes.NewReader([]byte(text)).ReadAt(p, at)
}

// A message that cannot be read to its end is not ended by a dot: the mail waits, and
// its outcome is known.
func TestMessageThatBecomesUnreadable(t *testing.T) {
	t.Parallel()
	for name, convert := range map[string]bool{"as it is": false, "converted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := false
				w := oneHost(func(s *server) {
					s.say(greeting)
					for {
						line, ok := s.hear()
						switch {
						case !ok:
							return
						case line == "DATA":
							s.say("354 go\r\n")
							rest, _ := io.ReadAll(s.lines)
							ended = strings.Contains(string(rest), "\r\n.\r\n")
							return
						default:
							s.say("250 ok\r\n")
						}
					}
				})
				text := bodyOf8Bit
				if !convert {
					text = letter
				}
				mail := mailOf("", "x@a.example")
				mail.Convert8Bit = convert
				mail.Message, mail.Size = &changing{text: text}, int64(len(text))
				if convert {
					mail.Message.(*changing).reads = -1 // Convert reads once to know the size
				}
				_, err := w.serving(t, policy.Config{}).Send(t.Context(), mail)
				if got := failures(t, err); !slices.Equal(got, []string{"x@a.example: 451 4.3.0"}) {
					t.Errorf("failures %q", got)
				}
				var send *SendError
				if errors.As(err, &send) && send.Undelivered[0].OutcomeUnknown {
					t.Error("the outcome is unknown")
				}
				synctest.Wait()
				if ended {
					t.Error("a part of the message was ended by a dot")
				}
			})
		})
	}
}
