package maps

import (
	"context"
	"errors"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/policy"
)

// exim answers for one mail host of a domain: the key is "domain host". The value is "dane", "verify"
// (a certificate of the web PKI), "dane verify", "encrypt" or "refuse". A host without demands has no
// value.
func (m *Maps) exim(ctx context.Context, key string) socketmap.Reply {
	begun := m.config.Now()
	domain, name, found := strings.Cut(key, " ")
	var reply socketmap.Reply
	if !found || domain == "" || name == "" {
		reply = socketmap.Reply{Status: socketmap.Permanent, Text: "the key is not of the form domain host"}
	} else {
		plan, err := m.resolve(ctx, eximPatience, domain)
		reply = eximReply(plan, err, name)
	}
	m.answered(Answer{"exim", domain, eximLevel(reply), reply.Reason(), nil, m.config.Now().Sub(begun)})
	return reply
}

// eximLevel returns the level of a reply in one word, for Answer.
func eximLevel(reply socketmap.Reply) string {
	switch reply.Status {
	case socketmap.Found:
		return strings.ReplaceAll(reply.Text, " ", "-")
	case socketmap.NotFound:
		return "notfound"
	case socketmap.Permanent:
		return "perm"
	default:
		return "temp"
	}
}

// eximReply answers for a host of a plan, or for the error that Resolve returned instead.
func eximReply(plan *policy.Plan, err error, name string) socketmap.Reply {
	var failure *policy.Error
	switch {
	case errors.As(err, &failure) && !failure.Temporary():
		return eximUnknown(failure)
	case err != nil:
		return socketmap.Reply{Text: reason(err)}
	}
	host := plan.Host(name)
	if host == nil || plan.Via != "" {
		return socketmap.Reply{Status: socketmap.Found, Text: "refuse"}
	}
	switch verify := eximVerify(host); host.Level {
	case policy.Opportunistic:
		return socketmap.Reply{Status: socketmap.NotFound}
	case policy.Encrypted:
		return socketmap.Reply{Status: socketmap.Found, Text: "encrypt"}
	case policy.Authenticated:
		if verify != "" {
			return socketmap.Reply{Status: socketmap.Found, Text: verify}
		}
	}
	return socketmap.Reply{Status: socketmap.Found, Text: "refuse"}
}

// eximUnknown answers for a domain without a mail host. Exim may know one from elsewhere, which must have what the
// operator demands of all.
func eximUnknown(failure *policy.Error) socketmap.Reply {
	switch failure.Floor {
	case policy.Opportunistic:
		return socketmap.Reply{Status: socketmap.NotFound}
	case policy.Encrypted:
		return socketmap.Reply{Status: socketmap.Found, Text: "encrypt"}
	default:
		return socketmap.Reply{Status: socketmap.Found, Text: "refuse"}
	}
}

// eximVerify returns what authenticates a host, or the empty string if Exim cannot demand it: a
// certificate for another name than that of the host, or records that are not in DNS.
func eximVerify(host *policy.Host) string {
	var words []string
	if len(host.TLSA) > 0 {
		if host.By.Has(policy.ByOperator) && (host.DANE == nil || len(host.DANE.Usable) == 0) {
			return ""
		}
		words = append(words, "dane")
	}
	for _, name := range host.WebPKINames() {
		if name != host.Name {
			return ""
		}
		words = append(words, "verify")
	}
	return strings.Join(words, " ")
}

// reason returns the text of an error for the log of a client.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), "policy: ")
	return text[:min(len(text), 200)]
}
