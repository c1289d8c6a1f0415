package mailserver

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// StartNginx starts an nginx for https and returns its port on 127.0.0.1. chain
// is the file with the key and certificates. server is added to the server
// section of the configuration, and more to the http section. File names in
// them are relative to dir, which also contains the logs.
func StartNginx(t testing.TB, dir, chain, server, more string) (port int) {
	t.Helper()
	nginx := interop.Need(t, "nginx")
	port = daemon.FreePort(t)
	config := filepath.Join(dir, "nginx.conf")
	dnsserver.WriteFile(t, config, fmt.Sprintf(`daemon off;
user root;
worker_processes 1;
error_log stderr;
pid nginx.pid;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	default_type text/plain;
	server {
		listen 127.0.0.1:%[1]d ssl http2;
		ssl_certificate %[2]s;
		ssl_certificate_key %[2]s;
		%[3]s
	}
	%[4]s
}
`, port, chain, server, more))
	daemon.Start(t, func() error { return connects(port) }, nginx, "-p", dir, "-c", config)
	return port
}
