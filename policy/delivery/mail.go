package delivery

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/dsn"
	content "github.com/mxseal/mxseal/policy/delivery/internal/message"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Mail is a message with its envelope, for Dialer.Send.
type Mail struct {
	// From is the return path, with or without angle brackets. Empty or "<>" means the
	// return path of a bounce.
	From string
	// To are the recipients, of any number of domains. A mailbox that occurs again,
	// even if it is written in another way, gets the message once, with the
	// parameters of its first occurrence.
	To []Recipient
	// Message is a message of RFC 5322 with its header, of Size octets, such as
	// an *os.File or a *bytes.Reader. Its lines end in CRLF or LF. It is read
	// several times and concurrently, in pieces, and must not change until Send
	// returns. nil is allowed only with Size 0, which means a message without octets;
	// it is an error if Message has any.
	Message io.ReaderAt
	Size    int64
	// Convert8Bit permits the conversion of 8-bit text to quoted-printable or
	// base64 for servers without 8BITMIME. Signatures over the converted text,
	// such as DKIM's, then fail to verify. Signed parts (multipart/signed) and
	// text without MIME fields are never converted. Without Convert8Bit, 8-bit
	// text goes only to servers with 8BITMIME.
	Convert8Bit bool
	// Return is how much of the message a report of failure returns; the zero
	// value leaves that to the server. With RequireTLS, ReturnFull becomes
	// ReturnHeaders (RFC 8689 section 5).
	Return Return
	// EnvelopeID is repeated in reports about the message: printable ASCII, up to 100
	// characters when encoded. Empty means none.
	EnvelopeID string
}

// Recipient is a recipient of a Mail. The parameters for delivery status
// notifications (DSN, RFC 3461) are sent only to servers that offer DSN.
// Delivery.DSN says whether the server got them.
type Recipient struct {
	// Address is the recipient's address, with or without angle brackets.
	Address string
	// Notify says when the sender wants a report. The zero value leaves that to
	// the server.
	Notify Notify
	// Original is the recipient as the sender first named it. A relay passes on what it
	// has received. The zero value means none.
	Original Address
}

// Notify says when a report about a recipient is sent (RFC 3461 section 4.1).
// Success, failure and delay can be combined with "|".
type Notify uint8

const (
	// NotifySuccess requests a report of delivery.
	NotifySuccess = Notify(dsn.NotifySuccess)
	// NotifyFailure requests a report of failure.
	NotifyFailure = Notify(dsn.NotifyFailure)
	// NotifyDelay requests a report of delay.
	NotifyDelay = Notify(dsn.NotifyDelay)
	// NotifyNever requests that no report is sent. It cannot be combined.
	NotifyNever = Notify(dsn.NotifyNever)
)

// Return says how much of a message a report of its failure returns (RFC 3461
// section 4.3).
type Return uint8

const (
	// ReturnDefault leaves the choice to the server that reports.
	ReturnDefault = Return(dsn.ReturnDefault)
	// ReturnFull requests the whole message.
	ReturnFull = Return(dsn.ReturnFull)
	// ReturnHeaders requests only the header.
	ReturnHeaders = Return(dsn.ReturnHeaders)
)

// Address is an address with its type (RFC 3461 section 4.2). The zero value means
// none.
type Address struct {
	// Type is the address type; empty means "rfc822", or "utf-8" if Mailbox is not
	// ASCII.
	Type string
	// Mailbox is the address, decoded and without angle brackets.
	Mailbox string
}

// message is what is sent to every domain. It is shared and read-only.
type message struct {
	content.Properties
	from          string // the return path, empty for a bounce
	international bool   // the return path needs SMTPUTF8
	text          io.ReaderAt
	size          int64 // of text
	mayConvert    bool
	dsn           dsn.MailOptions
	options       []policy.Option

	// converted returns the size of the message in 7-bit form, or why it has none.
	converted func() (int64, error)
}

// newMessage reads a message once, to know what it needs.
func newMessage(mail *Mail, options []policy.Option) (*message, *policy.Error) {
	m := &message{text: mail.Message, size: mail.Size, mayConvert: mail.Convert8Bit, options: slices.Clone(options)}
	if mail.Message == nil && mail.Size == 0 {
		m.text = noText{}
	}
	if m.text == nil || m.size < 0 {
		return nil, unreadable(errors.New("Mail.Message is nil or Mail.Size is negative"))
	}
	if m.size == 0 {
		if n, _ := m.text.ReadAt(make([]byte, 1), 0); n > 0 {
			return nil, unreadable(errors.New("Mail.Size is 0, and Mail.Message has octets; set it to their number"))
		}
	}
	path, err := parseReturnPath(mail.From)
	if err != nil {
		return nil, badReturnPath(mail.From, err)
	}
	m.from, m.international = path.path, path.international
	m.dsn = dsn.MailOptions{Return: dsn.Return(mail.Return), EnvelopeID: mail.EnvelopeID}
	if _, err := m.dsn.Parameters(); err != nil {
		return nil, badParameter(err)
	}
	if m.from == "" {
		m.dsn.Return = dsn.ReturnDefault // RFC 3461 section 6.1
		m.options = append(m.options, Bounce())
	}
	m.Properties, err = content.Scan(m.text, m.size)
	switch {
	case errors.Is(err, content.ErrBareCR):
		return nil, bareCR()
	case err != nil:
		return nil, unreadable(err)
	}
	if m.TLSOptional {
		m.options = append(m.options, policy.TLSOptional())
	}
	m.converted = sync.OnceValues(func() (int64, error) { return content.Convert(io.Discard, m.text, m.size) })
	return m, nil
}

// noText is a message of no octets.
type noText struct{}

func (noText) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// form is how a message goes to a server.
type form struct {
	// parameters are the parameters of MAIL.
	parameters []string
	// convert means that the message is sent in 7-bit form.
	convert bool
	// utf8 means that SMTPUTF8 is requested.
	utf8 bool
	// dsn means that DSN parameters are sent.
	dsn bool
}

// form returns how the message goes to a server, or what the server lacks for it.
// utf8 means that a recipient needs SMTPUTF8.
//
// Extensions are used only where the message needs them: BODY=8BITMIME for 8-bit
// octets (RFC 6152 section 3), SMTPUTF8 for addresses or headers that are not ASCII
// (RFC 6531 section 3.4).
func (m *message) form(offered wire.Extensions, utf8 bool) (form, *shortcoming) {
	f := form{utf8: utf8 || m.international || m.Header8Bit, dsn: offered.Has("DSN")}
	size := m.Size
	if f.utf8 && !offered.Has("SMTPUTF8") {
		if m.international {
			return f, &lacksUTF8ForSender
		}
		return f, &lacksUTF8ForHeader
	}
	if m.Body8Bit && !offered.Has("8BITMIME") {
		if !m.mayConvert {
			return f, &lacks8BITMIME
		}
		f.convert = true
		var err error
		if size, err = m.converted(); err != nil {
			return f, notConverted(err)
		}
	}
	if limit, ok := offered["SIZE"]; ok {
		// RFC 1870 section 3: up to twenty digits; 0 and no number mean no limit.
		if most, err := strconv.ParseUint(limit, 10, 64); err == nil && most > 0 && uint64(size) > most {
			return f, tooLarge(size, most)
		}
		f.parameters = append(f.parameters, fmt.Sprintf("SIZE=%d", size))
	}
	if (m.Body8Bit || m.Header8Bit) && !f.convert && offered.Has("8BITMIME") {
		f.parameters = append(f.parameters, "BODY=8BITMIME")
	}
	if f.utf8 {
		f.parameters = append(f.parameters, "SMTPUTF8")
	}
	return f, nil
}

// mailParameters returns the parameters of MAIL for a server with DSN.
func (m *message) mailParameters(requireTLS bool) []string {
	wanted := m.dsn
	if requireTLS && wanted.Return == dsn.ReturnFull {
		wanted.Return = dsn.ReturnHeaders // RFC 8689 section 5
	}
	parameters, _ := wanted.Parameters() // newMessage has checked them
	return parameters
}

// open returns the octets of the message in a form. A message that is shorter than
// its size ends in an error, and not like one that is complete.
func (m *message) open(f form) io.ReadCloser {
	if f.convert {
		r, w := io.Pipe()
		go func() {
			block := bufio.NewWriterSize(w, 16<<10)
			_, err := content.Convert(block, m.text, m.size)
			if err == nil {
				err = block.Flush()
			}
			w.CloseWithError(err)
		}()
		return r
	}
	return io.NopCloser(&wholeText{io.NewSectionReader(m.text, 0, m.size)})
}

// wholeText is a reader that does not end before its size.
type wholeText struct{ *io.SectionReader }

func (r *wholeText) Read(p []byte) (int, error) {
	n, err := r.SectionReader.Read(p)
	if err == io.EOF {
		if at, _ := r.Seek(0, io.SeekCurrent); at < r.Size() {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}
