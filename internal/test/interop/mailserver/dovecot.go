package mailserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// Accounts are those of a running Dovecot, which checks the logins for a Postfix.
type Accounts struct {
	socket string
	key    []byte // signs access tokens
}

// tokenIssuer is who issues access tokens.
const tokenIssuer = "https://accounts.example"

// StartDovecot starts a Dovecot with one account. It takes its password by PLAIN and
// LOGIN, and its access tokens by OAUTHBEARER and XOAUTH2.
func StartDovecot(t testing.TB, username, password string) *Accounts {
	t.Helper()
	dovecot := interop.Need(t, "dovecot")
	interop.NeedThat(t, os.Geteuid() == 0, "only root can start a Dovecot")
	// The path of a socket must be short, and names of t.TempDir are too long.
	dir, err := os.MkdirTemp("", "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	keys := filepath.Join(dir, "keys", "default", "HS256")
	for _, err := range []error{os.Chmod(dir, 0o755), os.MkdirAll(keys, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a := &Accounts{socket: filepath.Join(dir, "login"), key: make([]byte, 32)}
	_, _ = rand.Read(a.key) // it never fails
	dnsserver.WriteFile(t, filepath.Join(keys, "default"), base64.StdEncoding.EncodeToString(a.key))
	dnsserver.WriteFile(t, filepath.Join(dir, "passwords"), username+":{PLAIN}"+password+"\n")
	dnsserver.WriteFile(t, filepath.Join(dir, "tokens"), fmt.Sprintf(`introspection_mode = local
local_validation_key_dict = fs:posix:prefix=%s/keys/
username_attribute = sub
issuers = %s
`, dir, tokenIssuer))
	config := filepath.Join(dir, "dovecot.conf")
	dnsserver.WriteFile(t, config, strings.ReplaceAll(`base_dir = DIR/run
state_dir = DIR/run
log_path = /dev/stderr
protocols =
ssl = no
auth_mechanisms = plain login oauthbearer xoauth2
auth_failure_delay = 0
auth_verbose = yes
passdb {
  driver = passwd-file
  mechanisms = plain login
  args = DIR/passwords
}
passdb {
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = DIR/tokens
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener DIR/login {
    mode = 0666
  }
}
`, "DIR", dir))
	daemon.Start(t, func() error {
		conn, err := net.Dial("unix", a.socket)
		if err != nil {
			return err
		}
		return conn.Close()
	}, dovecot, "-F", "-c", config)
	return a
}

// Token returns an access token of an account: a JSON Web Token (RFC 7519).
func (a *Accounts) Token(t testing.TB, username string, expires time.Time) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": tokenIssuer, "sub": username, "iat": expires.Add(-time.Hour).Unix(), "exp": expires.Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	signature := hmac.New(sha256.New, a.key)
	signature.Write([]byte(text))
	return text + "." + encode(signature.Sum(nil))
}
