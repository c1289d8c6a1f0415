//go:build linux

package bigsender

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/logbuf"
)

// fleet is the relays of the day.
type fleet struct {
	t       *testing.T
	config  relayConfig
	queue   *queue
	relays  []*process
	watched watched
}

// watched are the numbers of open descriptors that were seen.
type watched struct {
	mu   sync.Mutex
	pids []int // of the relays
	most []int
}

// process is a relay, seen from outside.
type process struct {
	fleet *fleet
	index int
	cmd   *exec.Cmd
	log   logbuf.Buffer
	ended chan struct{}

	mu      sync.Mutex
	in      io.WriteCloser
	waiting map[string]chan string // by the first word of the answer
}

// start starts a relay in the place of the one before.
func (f *fleet) start(index int) {
	f.t.Helper()
	p := &process{fleet: f, index: index, ended: make(chan struct{}), waiting: make(map[string]chan string)}
	config, err := json.Marshal(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), relayEnv+"="+string(config))
	p.cmd.Stderr = &p.log
	p.in, err = p.cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	ready := p.expect("ready")
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go p.read(out)
	p.await(ready)
	f.relays[index] = p
	f.watched.mu.Lock()
	defer f.watched.mu.Unlock()
	f.watched.pids[index] = p.cmd.Process.Pid
}

// startAll starts a number of relays.
func (f *fleet) startAll(n int) {
	f.relays = make([]*process, n)
	f.watched.pids, f.watched.most = make([]int, n), make([]int, n)
	for i := range n {
		f.start(i)
	}
	f.t.Cleanup(func() {
		for _, p := range f.relays {
			p.cmd.Process.Kill()
			<-p.ended
			if f.t.Failed() && p.log.String() != "" {
				f.t.Logf("relay %d: %s", p.index, p.log.String())
			}
		}
	})
}

// read passes on what the relay writes until it ends.
func (p *process) read(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "sent":
			number, rest, _ := strings.Cut(rest, " ")
			result, detail, _ := strings.Cut(rest, " ")
			id, _ := strconv.Atoi(number)
			p.fleet.queue.result(id, result, detail)
		case "session":
			p.fleet.queue.session(p, strings.Fields(rest))
		default:
			p.mu.Lock()
			waiting := p.waiting[word]
			delete(p.waiting, word)
			p.mu.Unlock()
			if waiting != nil {
				waiting <- rest
			}
		}
	}
	_ = p.cmd.Wait() // a killed relay is no news
}

// expect returns the channel for the next line that begins with a word.
func (p *process) expect(word string) <-chan string {
	answer := make(chan string, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[word] = answer
	return answer
}

func (p *process) await(answer <-chan string) string {
	select {
	case line := <-answer:
		return line
	case <-p.ended:
		p.fleet.t.Fatalf("relay %d ended: %s", p.index, p.log.String())
	case <-time.After(30 * time.Minute):
		p.fleet.t.Fatalf("relay %d does not answer", p.index)
	}
	return ""
}

// order sends one order. It reports whether the relay still reads.
func (p *process) order(format string, args ...any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	return err == nil
}

// ask sends an order and returns the answer.
func ask[T any](p *process, answer, format string, args ...any) (value T) {
	p.fleet.t.Helper()
	expected := p.expect(answer)
	p.order(format, args...)
	if err := json.Unmarshal([]byte(p.await(expected)), &value); err != nil {
		p.fleet.t.Fatal(err)
	}
	return value
}

// plan makes a relay resolve domains, and returns the cost.
func (p *process) plan(from, to int) planCost {
	return ask[planCost](p, "planned", "plan %d %d 16", from, to)
}

func (p *process) costs() relayCost { return ask[relayCost](p, "costs", "cost") }

// setClock moves the clocks of all relays.
func (f *fleet) setClock(ahead time.Duration) {
	f.config.Clock = ahead
	for _, p := range f.relays {
		done := p.expect("done")
		p.order("clock %s", ahead)
		p.await(done)
	}
}

// stop ends a relay as an operator would, and waits.
func (f *fleet) stop(index int) {
	f.t.Helper()
	p := f.relays[index]
	p.order("stop")
	select {
	case <-p.ended:
	case <-time.After(3 * time.Minute):
		f.t.Errorf("relay %d does not stop", index)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		f.t.Errorf("relay %d ended with %d: %s", index, code, p.log.String())
	}
	f.queue.released(p)
}

// kill ends a relay with SIGKILL.
func (f *fleet) kill(index int) {
	p := f.relays[index]
	p.cmd.Process.Kill()
	<-p.ended
	f.queue.lostBy(p)
}

// watchDescriptors notes the largest number of open descriptors of each relay until
// stop is called.
func (f *fleet) watchDescriptors() (stop func()) {
	done, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			f.watched.look()
		}
	}()
	return func() {
		close(done)
		<-finished
	}
}

func (w *watched) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, pid := range w.pids {
		open, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
		if err == nil {
			w.most[i] = max(w.most[i], len(open))
		}
	}
}
