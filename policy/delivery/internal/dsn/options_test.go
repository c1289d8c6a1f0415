package dsn

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// RFC 3461 sections 4.3 and 4.4.
func TestMailOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options MailOptions
		want    string
		err     error
	}{
		{MailOptions{}, "", nil},
		{MailOptions{Return: ReturnFull}, "RET=FULL", nil},
		{MailOptions{Return: ReturnHeaders, EnvelopeID: "QQ314159"}, "RET=HDRS ENVID=QQ314159", nil},
		{MailOptions{EnvelopeID: "a+b=c d\t~!"}, "ENVID=a+2Bb+3Dc+20d+09~!", nil},
		{MailOptions{EnvelopeID: strings.Repeat("x", 100)}, "ENVID=" + strings.Repeat("x", 100), nil},
		{MailOptions{EnvelopeID: strings.Repeat("x", 101)}, "", ErrLength},
		{MailOptions{EnvelopeID: strings.Repeat("=", 34)}, "", ErrLength},
		{MailOptions{EnvelopeID: "a\r\nb"}, "", ErrCharacter},
		{MailOptions{EnvelopeID: "a\x00"}, "", ErrCharacter},
		{MailOptions{EnvelopeID: "\x7f"}, "", ErrCharacter},
		{MailOptions{EnvelopeID: "\xc3\xa4"}, "", ErrCharacter},
		{MailOptions{Return: 3}, "", ErrValue},
	} {
		got, err := test.options.Parameters()
		if strings.Join(got, " ") != test.want || !errors.Is(err, test.err) {
			t.Errorf("%+v: %q, %v; want %q, %v", test.options, got, err, test.want, test.err)
		}
	}
}

// RFC 3461 sections 4.1 and 4.2, RFC 6533 section 3.
func TestRecipientOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options RecipientOptions
		want    string
		err     error
	}{
		{RecipientOptions{}, "", nil},
		{RecipientOptions{Notify: NotifyNever}, "NOTIFY=NEVER", nil},
		{RecipientOptions{Notify: NotifySuccess}, "NOTIFY=SUCCESS", nil},
		{RecipientOptions{Notify: NotifyDelay | NotifyFailure}, "NOTIFY=FAILURE,DELAY", nil},
		{RecipientOptions{Notify: NotifySuccess | NotifyDelay | NotifyFailure}, "NOTIFY=SUCCESS,FAILURE,DELAY", nil},
		{RecipientOptions{Notify: NotifyNever | NotifyDelay}, "", ErrValue},
		{RecipientOptions{Notify: 16}, "", ErrValue},
		{RecipientOptions{Notify: NotifyFailure, OriginalRecipient: Address{Mailbox: "Bob+x@example.org"}},
			"NOTIFY=FAILURE ORCPT=rfc822;Bob+2Bx@example.org", nil},
		{RecipientOptions{OriginalRecipient: Address{Type: "X400", Mailbox: "/g=a b/"}}, "ORCPT=X400;/g+3Da+20b/", nil},
		{RecipientOptions{OriginalRecipient: Address{Mailbox: "j\u00f6rg+\\=@\u4f8b.example"}},
			`ORCPT=utf-8;j\x{F6}rg\x{2B}\x{5C}\x{3D}@\x{4F8B}.example`, nil},
		{RecipientOptions{OriginalRecipient: Address{Type: "UTF-8", Mailbox: "a@b"}}, "ORCPT=UTF-8;a@b", nil},
		{RecipientOptions{OriginalRecipient: Address{Type: "rfc822", Mailbox: "\u00f6@b"}}, "", ErrCharacter},
		{RecipientOptions{OriginalRecipient: Address{Mailbox: "\xff@b"}}, "", ErrCharacter},
		{RecipientOptions{OriginalRecipient: Address{Mailbox: "\u00f6\n@b"}}, "", ErrCharacter},
		{RecipientOptions{OriginalRecipient: Address{Mailbox: "a\r\n@b"}}, "", ErrCharacter},
		{RecipientOptions{OriginalRecipient: Address{Type: "a b", Mailbox: "a@b"}}, "", ErrCharacter},
		{RecipientOptions{OriginalRecipient: Address{Type: "a=b", Mailbox: "a@b"}}, "", ErrCharacter},
		{RecipientOptions{OriginalRecipient: Address{Type: "rfc822"}}, "", ErrMissing},
		{RecipientOptions{OriginalRecipient: Address{Mailbox: strings.Repeat("x", 493)}}, "ORCPT=rfc822;" + strings.Repeat("x", 493), nil},
		{RecipientOptions{OriginalRecipient: Address{Mailbox: strings.Repeat("x", 494)}}, "", ErrLength},
	} {
		got, err := test.options.Parameters()
		if strings.Join(got, " ") != test.want || !errors.Is(err, test.err) {
			t.Errorf("%+v: %q, %v; want %q, %v", test.options, got, err, test.want, test.err)
		}
	}
	_, err := RecipientOptions{OriginalRecipient: Address{Mailbox: "\n"}}.Parameters()
	var failure *Error
	if !errors.As(err, &failure) || failure.Field != "ORCPT" || err.Error() != "dsn: ORCPT: character not permitted" {
		t.Errorf("%v", err)
	}
}

// fromXtext decodes xtext as a server does.
func fromXtext(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '+' {
			b.WriteByte(text[i])
			continue
		}
		c, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil || strings.ToUpper(text[i+1:i+3]) != text[i+1:i+3] {
			t.Fatalf("%q: %v", text, err)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String()
}

// RFC 3461 section 4: no value breaks the syntax of a command, and the server
// reads the same value.
func FuzzParameters(f *testing.F) {
	f.Add(uint8(1), uint8(7), "a b+=", "rfc822", "bob@example.org")
	f.Add(uint8(2), uint8(8), "", "", "j\u00f6rg@example.org")
	f.Fuzz(func(t *testing.T, ret, notify uint8, id, kind, mailbox string) {
		mail, err := MailOptions{Return(ret), id}.Parameters()
		if err != nil && mail != nil {
			t.Fatalf("%q with %v", mail, err)
		}
		rcpt, err := RecipientOptions{Notify(notify), Address{kind, mailbox}}.Parameters()
		if err != nil && rcpt != nil {
			t.Fatalf("%q with %v", rcpt, err)
		}
		for _, p := range slices.Concat(mail, rcpt) {
			// esmtp-param of RFC 5321 section 4.1.2.
			keyword, value, _ := strings.Cut(p, "=")
			if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == '=' }) {
				t.Fatalf("%q", p)
			}
			switch keyword {
			case "ENVID":
				if got := fromXtext(t, value); got != id {
					t.Fatalf("%q for %q", got, id)
				}
			case "ORCPT":
				_, address, _ := strings.Cut(value, ";")
				if got := fromXtext(t, address); isASCII(mailbox) && !strings.EqualFold(kind, "utf-8") && got != mailbox {
					t.Fatalf("%q for %q", got, mailbox)
				}
			}
		}
	})
}
