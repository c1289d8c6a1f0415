package valkeystore

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// relayEnv contains the orders of a relay process.
const relayEnv = "MXSEAL_TEST_RELAY"

// TestMain runs the test binary as a relay if relayEnv is set, for tests with
// several processes.
func TestMain(m *testing.M) {
	if orders := os.Getenv(relayEnv); orders != "" {
		if err := beRelay(orders, os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// orders configures a relay process.
type orders struct {
	Server  string
	Version string
	Timeout time.Duration // 0 means that of a server that always answers, as in at
	Visit   visit
	Reports *reportVisit // not nil if the process only reports
}

// question is a line to a relay process, and answer a line from it.
type question struct {
	Domain  string
	Recheck bool
}

type answer struct {
	Text, ID string // of the policy in force
	Err      string
}

// beRelay answers questions until the end of the input.
func beRelay(text string, in io.Reader, out io.Writer) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	config := at(o.Server)
	if o.Timeout > 0 {
		config.Timeout = o.Timeout
	}
	store, err := newStore(config, o.Version)
	if err != nil {
		return err
	}
	defer store.Close()
	if o.Reports != nil {
		return o.Reports.run(store.Reports(), in)
	}
	client, err := o.Visit.client(store)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) })
	defer running.Wait()
	defer cancel()

	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q question
		if err := lines.Decode(&q); err != nil {
			return nil // end of input
		}
		if err := answers.Encode(q.ask(ctx, client)); err != nil {
			return err
		}
	}
}

func (q question) ask(ctx context.Context, client *mtasts.Client) (a answer) {
	var r mtasts.Result
	var err error
	if q.Recheck {
		r, _, err = client.Recheck(ctx, q.Domain)
	} else {
		r, err = client.Lookup(ctx, q.Domain)
	}
	if err != nil {
		a.Err = err.Error()
	}
	if r.Policy != nil {
		a.Text, a.ID = r.Policy.Text, r.ID
	}
	return a
}

// relay is a relay process.
type relay struct {
	cmd    *exec.Cmd
	killed bool

	mu  sync.Mutex
	in  *json.Encoder
	out *json.Decoder
}

// kill kills the process, and returns when it has ended.
func (r *relay) kill(t testing.TB) {
	t.Helper()
	r.killed = true
	if err := r.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = r.cmd.Wait() // the error says that it was killed
}

// startRelay starts a relay process. It ends with the test.
func startRelay(t testing.TB, o orders) *relay {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), relayEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &relay{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
	t.Cleanup(func() {
		if r.killed {
			return
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	return r
}

func (r *relay) ask(t testing.TB, q question) answer {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var a answer
	if err := r.in.Encode(q); err != nil {
		t.Fatal(err)
	}
	if err := r.out.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// lookup returns the id of the policy in force, or "".
func (r *relay) lookup(t testing.TB, domain string) (id string) {
	t.Helper()
	a := r.ask(t, question{Domain: domain})
	if a.Err != "" {
		t.Errorf("%s: %s", domain, a.Err)
	}
	return a.ID
}
