package serve

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/policy/policytest"
)

// browser is a tab of a Chromium, which is driven by the DevTools protocol over a pair of pipes.
type browser struct {
	commands *os.File
	replies  *bufio.Reader
	session  string
	last     int
	// document is the loader of the document that is shown.
	document string
	// complaints are what the browser says about the page: violations of its policy, errors.
	complaints []string
}

// openBrowser starts a browser without a window.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	theirs, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	replies, theirReplies, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("chromium-headless-shell")
	if err != nil {
		program = interop.Need(t, "chromium")
	}
	c := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	log := new(output)
	c.Stdout, c.Stderr, c.ExtraFiles = log, log, []*os.File{theirs, theirReplies}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	theirReplies.Close()
	b := &browser{commands: commands, replies: bufio.NewReader(replies)}
	t.Cleanup(func() {
		commands.Close() // ends it
		_ = c.Process.Kill()
		_ = c.Wait()
		replies.Close()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	var target struct{ TargetID string }
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Log", "Runtime", "Network"} {
		b.call(t, domain+".enable", nil, nil)
	}
	b.call(t, "Page.setLifecycleEventsEnabled", map[string]any{"enabled": true}, nil)
	return b
}

// call calls a method and waits for its result.
func (b *browser) call(t *testing.T, method string, params map[string]any, result any) {
	t.Helper()
	b.last++
	request := map[string]any{"id": b.last, "method": method, "params": params}
	if params == nil {
		request["params"] = map[string]any{}
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.commands.Write(append(text, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		reply := b.next(t)
		if reply.ID != b.last {
			continue
		}
		if reply.Error != nil {
			t.Fatalf("%s: %s", method, reply.Error)
		}
		if result != nil {
			if err := json.Unmarshal(reply.Result, result); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

// reply is what the browser says: a result, or an event that has a method.
type reply struct {
	ID                    int
	Method                string
	Result, Error, Params json.RawMessage
}

func (b *browser) next(t *testing.T) (r reply) {
	t.Helper()
	text, err := b.replies.ReadBytes(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text[:len(text)-1], &r); err != nil {
		t.Fatal(err)
	}
	switch r.Method {
	case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
		b.complaints = append(b.complaints, r.Method+" "+string(r.Params))
	case "Page.lifecycleEvent":
		var event struct{ LoaderID, Name string }
		if err := json.Unmarshal(r.Params, &event); err != nil {
			t.Fatal(err)
		}
		if event.Name == "load" {
			b.document = event.LoaderID
		}
	}
	return r
}

// open opens an address, and waits until everything is there.
func (b *browser) open(t *testing.T, address string) {
	t.Helper()
	var begun struct{ LoaderID, ErrorText string }
	b.call(t, "Page.navigate", map[string]any{"url": address}, &begun)
	if begun.ErrorText != "" {
		t.Fatalf("%s: %s", address, begun.ErrorText)
	}
	for b.document != begun.LoaderID {
		b.awaitDocument(t)
	}
}

// awaitDocument waits until everything of a document is there that was not shown before. Until then, the browser
// may answer that the document in which an expression was to be evaluated is gone.
func (b *browser) awaitDocument(t *testing.T) {
	t.Helper()
	for shown := b.document; b.document == shown; {
		b.next(t)
	}
}

// eval evaluates an expression in the page.
func eval[T any](t *testing.T, b *browser, expression string) (value T) {
	t.Helper()
	var result struct {
		Result           struct{ Value T }
		ExceptionDetails json.RawMessage
	}
	b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		t.Fatalf("%s: %s", expression, result.ExceptionDetails)
	}
	return result.Result.Value
}

// look gives the page a width in pixels and a color scheme, and makes a picture if MXSEAL_PICTURES names a
// directory.
func (b *browser) look(t *testing.T, name string, width int, scheme string) {
	t.Helper()
	b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	dir := os.Getenv("MXSEAL_PICTURES")
	if dir == "" {
		return
	}
	var picture struct{ Data string }
	b.call(t, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &picture)
	octets, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), octets, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// deliver gives a message to the relay.
func deliver(t *testing.T, r *running, to ...string) {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(r.dir, "relay.sock"))
	if err != nil {
		t.Fatal(err)
	}
	client := smtp.NewClientLMTP(conn)
	defer client.Close()
	if err := client.SendMail("me@sender.example", to, strings.NewReader("Subject: x\r\n\r\nx\r\n")); err == nil {
		t.Error("all mail was accepted")
	}
}

// hostile is text that would act as HTML or as a script if it was not escaped.
const hostile = `</pre></title></style><script>document.title='owned'</script><img src=x onerror="document.title='owned'">`

// hostileInternet has domains of every kind for the page, some of which put text there.
func hostileInternet(t *testing.T) *policytest.Internet {
	inet := newInternet(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	inet.Domain("testing.example", policytest.Unsigned).MX("mx.sts.example").Policy("testing", "mx.sts.example")
	inet.Domain("bogus.example").MX("mx.dane.example")
	inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)
	inet.Domain("rude.example", policytest.Unsigned).MX("mx.rude.example").Policy("enforce", "mx.rude.example").Publish("version: STSv1\n" + hostile + "\n")
	inet.Host("mx.rude.example")
	inet.Domain("wrong.example").MX("mx.wrong.example")
	inet.Host("mx.wrong.example", policytest.TLSA("3 1 1"), policytest.OtherKey, policytest.Reply(policytest.Greeting, "220 "+hostile))
	inet.Domain("closed.example").MX("mx.closed.example")
	inet.Host("mx.closed.example", policytest.TLSA("3 1 1"), policytest.Reply("RCPT", "550 5.1.1 "+hostile))
	inet.Domain("mixed.example").MX("mx.lost.example", "mx.dane.example")
	inet.Host("mx.lost.example", policytest.TLSA("3 1 1"))
	inet.BreakDNS(policytest.ServFail, "mx.lost.example", dnssec.TypeA, dnssec.TypeAAAA)
	return inet
}

// The page for people in a real browser: nothing that the network says is more than text, the style sheet is
// applied, and no window is too narrow or too dark.
func TestPageInBrowser(t *testing.T) {
	inet := hostileInternet(t)
	c, began := inet.Config(), time.Now()
	c.Now = func() time.Time { return began } // plans of which a lookup failed stay
	r := startWith(t, inet, c, dirOf(t), strings.Replace(plain, `"unix:DIR/http.sock"`, `"inet:127.0.0.1:0"`, 1)+
		"[relay]\nlmtp = ['unix:DIR/relay.sock']\n[tlsrpt-reports]\ncontact = 'tls@sender.example'\n")
	found := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(r.log.String())
	if found == "" {
		t.Fatal(r.log.String())
	}
	site := "http://" + found
	for _, domain := range []string{"dane", "plain", "sts", "testing", "bogus", "rude", "wrong", "mixed"} {
		r.ask(t, "QUERY "+domain+".example")
	}
	deliver(t, r, "a@dane.example", "a@wrong.example", "a@closed.example")
	await.Until(t, "the sessions are counted, which is done twice a second", func() bool {
		resp, err := http.Get(site + "/reports")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "dane.example")
	})

	b := openBrowser(t)
	check := func(name string) {
		t.Helper()
		if title := eval[string](t, b, "document.title"); !strings.HasPrefix(title, "mxseal") {
			t.Errorf("%s: the title is %q", name, title)
		}
		if n := eval[int](t, b, "document.querySelectorAll('script, img, iframe, object, link, [onerror]').length"); n != 0 {
			t.Errorf("%s: %d elements that the page does not have", name, n)
		}
		for scheme, want := range map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"} {
			for _, width := range []int{1300, 360} {
				b.look(t, name, width, scheme)
				if got := eval[string](t, b, "getComputedStyle(document.body).backgroundColor"); got != want {
					t.Errorf("%s, %s: the background is %s, want %s", name, scheme, got, want)
				}
				if over := eval[int](t, b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
					t.Errorf("%s, %d wide: it is %d pixels too wide", name, width, over)
				}
			}
		}
		if b.complaints != nil {
			t.Errorf("%s: %q", name, b.complaints)
			b.complaints = nil
		}
	}
	has := func(name string, texts ...string) {
		t.Helper()
		page := eval[string](t, b, "document.body.innerText")
		for _, text := range texts {
			if !strings.Contains(page, text) {
				t.Errorf("%s has no %q:\n%s", name, text, page)
			}
		}
	}
	for path, texts := range map[string][]string{
		"":          {"Plans in memory", "Latest events", "MTA-STS policy found"},
		"plans":     {"dane.example", "mx.dane.example: authenticated by DANE", "plain.example", "mx.plain.example: opportunistic", "8 in all"},
		"policies":  {"sts.example", "enforce", "testing", "mx.sts.example", "in 6 d", "2 in all"},
		"refused":   {"mixed.example", "mx.lost.example: refused by DANE", "bogus.example", "wrong.example", "closed.example", "onerror", "1 in all"},
		"stalling":  {"0 in all"},
		"reports":   {"dane.example", "is being counted"},
		"events":    {"MTA-STS policy found", "rude.example", "ready"},
		"?domain=":  {"Plans in memory"},
		"?domain=x": {"x"},
		"?domain=sts.example": {
			"mx.sts.example port 25: authenticated by MTA-STS", "QUERY: secure", "MTA-STS policy in memory", "MTA-STS policy found",
		},
		"?domain=closed.example": {"Mail was not sent once", "550"},
		"?domain=" + strings.NewReplacer("<", "%3C", ">", "%3E", `"`, "%22", "'", "%27", " ", "+").Replace(hostile): {"</pre>"},
		"plans?contains=MIXED":                {"1 in all", "mixed.example"},
		"policies?after=9&contains=%22%3E%3C": {"0 in all"},
	} {
		b.open(t, site+"/"+path)
		name := regexp.MustCompile(`[^a-z=?.]`).ReplaceAllString(path, "")
		has("/"+path, texts...)
		check("page-" + name[:min(len(name), 30)])
	}

	// A person types a domain and presses the button.
	b.open(t, site)
	eval[any](t, b, "document.querySelector('input[name=domain]').value = 'dane.example'; document.querySelector('button').click()")
	b.awaitDocument(t)
	if title := eval[string](t, b, "document.title"); !strings.Contains(title, "dane.example") {
		t.Errorf("the page after the button was pressed has the title %q", title)
	}
	has("the page of the domain", "QUERY: dane-only", "TLS report for")

	// A page of another site can neither read what is here nor have a domain looked up.
	evil := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<title>waits</title><img src="%s/?domain=secret.example" onerror="fetch('%s/explain?domain=secret.example').then(r => r.text()).then(
			text => document.title = 'read ' + text, () => document.title = 'refused')">`, site, site)
	}), ReadHeaderTimeout: time.Minute}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := evil.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	defer evil.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b.open(t, "http://localhost:"+port)
	await.Until(t, "the page has tried", func() bool { return eval[string](t, b, "document.title") != "waits" })
	if title := eval[string](t, b, "document.title"); title != "refused" {
		t.Errorf("another site: %s", title)
	}
	for _, question := range inet.AllQuestions() {
		if strings.Contains(fmt.Sprint(question), "secret.example") {
			t.Errorf("another site had a domain looked up: %v", question)
		}
	}
	b.complaints = nil // about the other site
	// A name of the attacker that leads to the daemon does not help either.
	b.open(t, "http://evil.localhost"+strings.TrimPrefix(found, "127.0.0.1")+"/?domain=dane.example")
	has("the daemon under another name", "the name in the URL is not one of this server")
}
