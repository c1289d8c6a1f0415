package dane

import (
	"context"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// Addresses finds the addresses of a mail host and asks for no TLSA records. It
// is for hosts to which the sender does not apply DANE at all, so that, unlike
// in [Discover], one family is enough when the lookup of the other failed. The
// errors are those of Discover.
func Addresses(ctx context.Context, resolver dnssec.Resolver, host string) (*Host, error) {
	name, err := hostName(host)
	if err != nil {
		return nil, err
	}
	d := &discovery{ctx: ctx, resolver: resolver, host: &Host{Name: canonical(name)}}
	if err := d.addresses(name, insecurelyFound); err != nil {
		return nil, err
	}
	return d.host, nil
}
