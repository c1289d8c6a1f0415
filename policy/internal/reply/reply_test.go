package reply_test

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy/internal/reply"
)

// RFC 2034 section 4 and RFC 3463 section 2: the status is the enhanced code of the
// reply if it is well-formed and of the reply's class, and otherwise x.0.0.
func TestStatusIsEnhancedCodeOrZero(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code      int
		msg, want string
	}{
		{550, "5.1.1 no such user", "5.1.1"},
		{450, "4.123.123 later", "4.123.123"},
		{550, "4.1.1 no such user", "5.0.0"},
		{550, "5.1 no such user", "5.0.0"},
		{550, "5.1.1.1 no such user", "5.0.0"},
		{550, "5.1234.1 no such user", "5.0.0"},
		{550, "05.1.1 no such user", "5.0.0"},
		{550, "5.-1.1 no such user", "5.0.0"},
		{552, "5.2.2\tfull", "5.2.2"},
		{552, " 5.2.2 full", "5.2.2"},
		{552, "5.2.2\n5.2.2 full", "5.2.2"},
		{552, "full 5.2.2", "5.0.0"},
		{450, "", "4.0.0"},
		{450, " \n\t", "4.0.0"},
	} {
		if got := reply.Status(&textproto.Error{Code: test.code, Msg: test.msg}); got != test.want {
			t.Errorf("%d %s: %s, want %s", test.code, test.msg, got, test.want)
		}
	}
}

// A server's reply in an error is shortened. Other errors stay as they are.
func TestReplyInErrorIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	for _, err := range []error{
		&textproto.Error{Code: 550, Msg: long}, textproto.ProtocolError(long), fmt.Errorf("wrapped: %w", &textproto.Error{Code: 550, Msg: long}),
	} {
		if got := reply.Bounded(err); len(got.Error()) > 600 {
			t.Errorf("%d octets", len(got.Error()))
		}
	}
	other := errors.New(long)
	if got := reply.Bounded(other); got != other {
		t.Errorf("%v", got)
	}
	if got := reply.Bounded(nil); got != nil {
		t.Errorf("%v", got)
	}
}
