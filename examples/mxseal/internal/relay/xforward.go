package relay

import (
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// origin is what the client says about the source of a message, by XFORWARD, an extension of Postfix. It is
// only for the log.
type origin map[string]string

// originAttributes are those that the relay offers.
var originAttributes = []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"}

// maxAttribute bounds a value in octets.
const maxAttribute = 255

// parseOrigin adds the attributes of XFORWARD to those that are known.
func parseOrigin(argument string, known origin) (origin, *reply) {
	all := origin{}
	for name, value := range known {
		all[name] = value
	}
	fields := strings.Fields(argument)
	if len(fields) == 0 {
		return nil, malformedParameter
	}
	for _, field := range fields {
		name, encoded, _ := strings.Cut(field, "=")
		name = strings.ToUpper(name)
		value, ok := fromXtext(encoded)
		if !ok || len(value) > maxAttribute || !slices.Contains(originAttributes, name) {
			return nil, malformedParameter
		}
		if value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]" {
			value = ""
		}
		all[name] = value
	}
	return all, nil
}

// log returns the attributes of a line of the log: the queue ID of the client, and the host from which the
// client got the message.
func (o origin) log() (all []any) {
	if id := o["IDENT"]; id != "" {
		all = append(all, "queue_id", names.Printable(id, maxAttribute))
	}
	if addr := o["ADDR"]; addr != "" {
		all = append(all, "client", names.Printable(o["NAME"]+"["+addr+"]", 2*maxAttribute))
	}
	return all
}
