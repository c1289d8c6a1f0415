package dsn

import "strings"

// Return says how much of a message a report of its failure returns (RFC 3461
// section 4.3).
type Return uint8

const (
	// ReturnDefault lets the reporting server choose: no RET parameter.
	ReturnDefault Return = iota
	// ReturnFull requests the whole message.
	ReturnFull
	// ReturnHeaders requests only the header.
	ReturnHeaders
)

// Notify says when a report about a recipient is to be sent (RFC 3461 section 4.1).
// Success, failure and delay may be combined with "|". The zero Notify means no NOTIFY
// parameter; servers then report failures, and delays if they like.
type Notify uint8

const (
	NotifySuccess Notify = 1 << iota
	NotifyFailure
	NotifyDelay
	// NotifyNever cannot be combined.
	NotifyNever
)

// MailOptions are the DSN parameters of MAIL. The zero value has none.
type MailOptions struct {
	// Return is RET. It must not be used for a message that is itself a report
	// (RFC 3461 section 6.1).
	Return Return
	// EnvelopeID is ENVID, before encoding: printable ASCII and white space, up to 100
	// characters when encoded (RFC 3461 section 4.4). Empty means none.
	EnvelopeID string
}

// Parameters returns the parameters, such as "RET=HDRS" and "ENVID=QQ314159".
// The error is an *Error.
func (o MailOptions) Parameters() ([]string, error) {
	var parameters []string
	switch o.Return {
	case ReturnDefault:
	case ReturnFull:
		parameters = append(parameters, "RET=FULL")
	case ReturnHeaders:
		parameters = append(parameters, "RET=HDRS")
	default:
		return nil, &Error{"RET", ErrValue}
	}
	if o.EnvelopeID != "" {
		const maxEnvelopeID = 100
		id := xtext(o.EnvelopeID)
		switch {
		case !isPrintable(o.EnvelopeID):
			return nil, &Error{"ENVID", ErrCharacter}
		case len(id) > maxEnvelopeID:
			return nil, &Error{"ENVID", ErrLength}
		}
		parameters = append(parameters, "ENVID="+id)
	}
	return parameters, nil
}

// RecipientOptions are the DSN parameters of RCPT. The zero value has none.
type RecipientOptions struct {
	Notify Notify
	// OriginalRecipient is ORCPT: the recipient as the sender first named it. A
	// relay passes on what it has received.
	OriginalRecipient Address
}

// Parameters returns the parameters, such as "NOTIFY=FAILURE,DELAY" and
// "ORCPT=rfc822;bob@example.org". They are ASCII, even for an address that is not. The
// error is an *Error.
func (o RecipientOptions) Parameters() ([]string, error) {
	var parameters []string
	switch {
	case o.Notify == 0:
	case o.Notify == NotifyNever:
		parameters = append(parameters, "NOTIFY=NEVER")
	case o.Notify&^(NotifySuccess|NotifyFailure|NotifyDelay) != 0:
		return nil, &Error{"NOTIFY", ErrValue}
	default:
		var when []string
		if o.Notify&NotifySuccess != 0 {
			when = append(when, "SUCCESS")
		}
		if o.Notify&NotifyFailure != 0 {
			when = append(when, "FAILURE")
		}
		if o.Notify&NotifyDelay != 0 {
			when = append(when, "DELAY")
		}
		parameters = append(parameters, "NOTIFY="+strings.Join(when, ","))
	}
	if o.OriginalRecipient != (Address{}) {
		value, err := o.OriginalRecipient.parameter()
		if err != nil {
			return nil, &Error{"ORCPT", err}
		}
		parameters = append(parameters, "ORCPT="+value)
	}
	return parameters, nil
}
