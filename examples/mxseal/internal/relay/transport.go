package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/internal/names"
)

const (
	// maxLinks bounds the links: anyone who sends mail chooses domains. Beyond it, domains share a next
	// hop.
	maxLinks = 100_000
	// nameOctets is half the length of the name of a link: the path of a socket has at most 107 octets.
	nameOctets = 10
	// linkAge is how long an unused link stays. Postfix keeps a next hop for as long as it has mail in its
	// active queue.
	linkAge = 24 * time.Hour
)

// TransportConfig configures NewTransport.
type TransportConfig struct {
	// Dir is the directory for the links. Root is a directory above it, to which the paths of the client
	// are relative: the queue directory of Postfix.
	Dir, Root string
	// Socket is the LMTP socket of the relay.
	Socket string
	// Local reports whether the client itself delivers the mail of a domain, given in A-labels and lower
	// case.
	Local  func(domain string) bool
	Now    func() time.Time
	Logger *slog.Logger
}

// Transport is a transport map of Postfix in which each domain has a next hop of its own: a symbolic link to
// the socket of the relay. Therefore Postfix schedules each domain on its own, and none holds up another.
type Transport struct {
	config TransportConfig
	target string // of the links, relative to them
	path   string // of the links, as the client names it

	mu   sync.Mutex
	used map[string]time.Time // by the name of the link
}

// NewTransport makes the directory and takes over the links that are there. It removes those to another socket, which
// would stay for as long as there is mail for their domains.
func NewTransport(config TransportConfig) (*Transport, error) {
	t := &Transport{config: config, used: make(map[string]time.Time)}
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if t.path, err = filepath.Rel(config.Root, config.Dir); err != nil {
		return nil, err
	}
	if t.target, err = filepath.Rel(config.Dir, config.Socket); err != nil {
		return nil, err
	}
	if strings.HasPrefix(t.path, "..") {
		return nil, errors.New("the directory " + config.Dir + " is not in " + config.Root)
	}
	entries, err := os.ReadDir(config.Dir)
	for _, entry := range entries {
		if octets, err := hex.DecodeString(entry.Name()); err != nil || len(octets) != nameOctets || entry.Type()&fs.ModeSymlink == 0 {
			continue // not ours
		}
		link := filepath.Join(config.Dir, entry.Name())
		if target, err := os.Readlink(link); err == nil && target == t.target {
			t.used[entry.Name()] = config.Now()
		} else if err := os.Remove(link); err != nil {
			return nil, err
		}
	}
	return t, err
}

// Map answers for a recipient address or a domain.
func (t *Transport) Map(_ context.Context, key string) socketmap.Reply {
	canonical, err := names.Canonical(key[strings.LastIndexByte(key, '@')+1:])
	if err != nil || !strings.Contains(canonical, ".") || t.config.Local(canonical) {
		return socketmap.Reply{Status: socketmap.NotFound}
	}
	sum := sha256.Sum256([]byte(canonical))
	name := hex.EncodeToString(sum[:nameOctets])
	ok, err := t.link(name)
	switch {
	case err != nil:
		t.config.Logger.Error("transport: a link cannot be made", "error", err)
		return socketmap.Reply{Text: "mxseal: a link cannot be made; see its log"}
	case !ok:
		return socketmap.Reply{Status: socketmap.Found, Text: "lmtp:unix:" + filepath.Join(t.path, t.target)}
	}
	return socketmap.Reply{Status: socketmap.Found, Text: "lmtp:unix:" + filepath.Join(t.path, name)}
}

// link makes a link unless it is there. It returns false if there are too many.
func (t *Transport) link(name string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.used[name]
	if !known && len(t.used) >= maxLinks {
		return false, nil
	}
	if !known {
		err := os.Symlink(t.target, filepath.Join(t.config.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return false, err
		}
	}
	t.used[name] = t.config.Now()
	return true, nil
}

// Run removes links that nobody has asked for in a day, until ctx is done.
func (t *Transport) Run(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.clean()
		}
	}
}

func (t *Transport) clean() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.config.Now()
	for name, used := range t.used {
		if now.Sub(used) < linkAge {
			continue
		}
		if err := os.Remove(filepath.Join(t.config.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.config.Logger.Error("transport: a link cannot be removed", "error", err)
			continue
		}
		delete(t.used, name)
	}
}
