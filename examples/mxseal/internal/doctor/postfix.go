package doctor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// postfix is the configuration of a Postfix.
type postfix struct {
	version  version
	settings map[string]string // those of smtp(8)
	lmtp     map[string]string // those of lmtp(8)
	// inMaster has the services whose settings are in master.cf, such as smtp/unix, by the names of the settings.
	inMaster map[string]string
	// transports are the transport maps of main.cf, and of services in master.cf.
	transports []string
	// chrooted is true if smtp(8) has the queue directory as its root directory.
	chrooted bool
	// nameservers are those that smtp(8) asks.
	nameservers []string
	// current are those of the file of which smtp(8) has a copy, if it is chrooted.
	current []string
	// validates returns why a DNS server does not validate DNSSEC for Postfix; nil if it does.
	validates func(server string) error
	// answers returns why a socketmap at an address does not answer; nil if it does.
	answers func(network, address string) error
}

// version is a version of Postfix, such as 3.10.5.
type version struct {
	text  string
	parts [3]int
}

func parseVersion(text string) (v version, err error) {
	v.text = text
	// A snapshot is 3.12-20260821.
	release, _, _ := strings.Cut(text, "-")
	for i, part := range strings.SplitN(release, ".", 3) {
		if v.parts[i], err = strconv.Atoi(part); err != nil {
			return v, fmt.Errorf("%q is no version of Postfix", text)
		}
	}
	return v, nil
}

// atLeast reports whether the version is a.b.c or later.
func (v version) atLeast(a, b, c int) bool {
	for i, part := range [3]int{a, b, c} {
		if v.parts[i] != part {
			return v.parts[i] > part
		}
	}
	return true
}

// resolvConf is the file of resolv.conf(5) in a root directory.
const resolvConf = "etc/resolv.conf"

// read runs postconf. An empty dir means the directory that postconf knows.
func read(ctx context.Context, dial dialer, dir string) (*postfix, error) {
	text, err := postconf(ctx, dir, "-x")
	if err != nil {
		return nil, err
	}
	settings := parseSettings(text)
	services, err := postconf(ctx, dir, "-M", "smtp/unix")
	if err != nil {
		return nil, err
	}
	p := &postfix{inMaster: map[string]string{}, answers: askSocketmap, transports: []string{settings["transport_maps"]}}
	p.validates = func(server string) error { return validates(ctx, dial, server) }
	if p.settings, err = p.serviceSettings(ctx, dir, "smtp", settings); err != nil {
		return nil, err
	}
	if p.lmtp, err = p.serviceSettings(ctx, dir, "lmtp", settings); err != nil {
		return nil, err
	}
	own, err := postconf(ctx, dir, "-x", "-P", "*/unix/transport_maps")
	if err != nil {
		return nil, err
	}
	for _, maps := range parseSettings(own) {
		p.transports = append(p.transports, maps)
	}
	if fields := strings.Fields(string(services)); len(fields) > 4 {
		p.chrooted = fields[4] == "y"
	}
	if p.version, err = parseVersion(p.settings["mail_version"]); err != nil {
		return nil, err
	}
	if p.current, err = nameservers(filepath.Join("/", resolvConf)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p.nameservers = p.current
	if p.chrooted {
		// Debian copies the file into the queue directory when Postfix starts.
		copied, err := nameservers(filepath.Join(p.settings["queue_directory"], resolvConf))
		switch {
		case err == nil:
			p.nameservers = copied
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return p, nil
}

// serviceSettings returns the settings of a service. Its options in master.cf take precedence over main.cf, and are
// noted in inMaster if their names begin with that of the service.
func (p *postfix) serviceSettings(ctx context.Context, dir, service string, main map[string]string) (map[string]string, error) {
	own, err := postconf(ctx, dir, "-x", "-P", service+"/unix/*")
	if err != nil {
		return nil, err
	}
	all := maps.Clone(main)
	for name, value := range parseSettings(own) {
		name = strings.TrimPrefix(name, service+"/unix/")
		if all[name] = value; strings.HasPrefix(name, service+"_") {
			p.inMaster[name] = service + "/unix"
		}
	}
	return all, nil
}

func postconf(ctx context.Context, dir string, args ...string) ([]byte, error) {
	if dir != "" {
		args = append([]string{"-c", dir}, args...)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, "postconf", args...)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("postconf: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return output, nil
}

// parseSettings reads lines such as "name = value".
func parseSettings(text []byte) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, "="); found {
			all[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return all
}

// nameservers returns the DNS servers that a program asks: the first three of the file, and the one of this machine if
// there are none (resolv.conf(5)).
func nameservers(file string) (all []string, err error) {
	text, err := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" && len(all) < 3 {
			all = append(all, fields[1])
		}
	}
	if all == nil {
		all = []string{"127.0.0.1"}
	}
	return all, err
}

// askSocketmap asks a socketmap for a key that has no value.
func askSocketmap(network, address string) error {
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "14:QUERY .example,"); err != nil {
		return err
	}
	const want = "9:NOTFOUND ,"
	reply := make([]byte, len(want))
	switch n, err := io.ReadFull(bufio.NewReader(conn), reply); {
	case err != nil:
		return fmt.Errorf("it answers %q: %w", reply[:n], err)
	case string(reply) != want:
		return fmt.Errorf("it answers %q, want %q", reply, want)
	}
	return nil
}
