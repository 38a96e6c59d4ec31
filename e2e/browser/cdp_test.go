package browser

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tab is a tab of a Chromium without a window. It speaks the DevTools protocol over two pipes:
// messages are JSON, each followed by a zero byte.
type tab struct {
	to      *os.File
	session string

	mu      sync.Mutex
	id      int
	answers map[int]chan answer
	event   func(method string, params json.RawMessage)
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// wait is the limit for one answer.
const wait = time.Minute

// startChromium starts a browser with one tab, until the test ends. event gets all events of the
// tab; it must not block.
func startChromium(t *testing.T, command string, event func(method string, params json.RawMessage)) *tab {
	t.Helper()
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, mine, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirs, mine} // 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	mine.Close()
	b := &tab{to: to, answers: map[int]chan answer{}, event: event}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(from)
	}()
	t.Cleanup(func() {
		group := -cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGKILL)
		_ = cmd.Wait()
		// Its children write to the directory of the profile until they end, too.
		for end := time.Now().Add(10 * time.Second); syscall.Kill(group, 0) == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		to.Close()
		from.Close()
		<-read
	})
	var created struct{ TargetID string }
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &created)
	var attached struct{ SessionID string }
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": created.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(t, domain+".enable", nil, nil)
	}
	return b
}

// read passes answers to their callers, and events to event.
func (b *tab) read(from *os.File) {
	for r := bufio.NewReaderSize(from, 1<<20); ; {
		message, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			answer
		}
		if err := json.Unmarshal(bytes.TrimSuffix(message, []byte{0}), &m); err != nil {
			continue
		}
		if m.ID == 0 {
			b.event(m.Method, m.Params)
			continue
		}
		b.mu.Lock()
		c := b.answers[m.ID]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		if c != nil {
			c <- m.answer
		}
	}
}

// call sends a command and decodes its result into out, unless out is nil.
func (b *tab) call(t *testing.T, method string, params any, out any) {
	t.Helper()
	b.mu.Lock()
	b.id++
	id, c := b.id, make(chan answer, 1)
	b.answers[id] = c
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	message, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.to.Write(append(message, 0)); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-c:
		if a.Error != nil {
			t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if out == nil {
			return
		}
		if err := json.Unmarshal(a.Result, out); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	case <-time.After(wait):
		t.Fatalf("%s: no answer within %v", method, wait)
	}
}

// evaluate returns the value of an expression of JavaScript; it awaits a promise.
func evaluate[T any](t *testing.T, b *tab, expression string) (v T) {
	t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if e := out.ExceptionDetails; e != nil {
		t.Fatalf("%.100s: %s %s", expression, e.Text, e.Exception.Description)
	}
	if len(out.Result.Value) > 0 {
		if err := json.Unmarshal(out.Result.Value, &v); err != nil {
			t.Fatalf("%.100s: %v", expression, err)
		}
	}
	return v
}

// problem returns what is wrong about an event, or "". host is the only one that pages may ask.
func problem(method string, params json.RawMessage, host string) string {
	var p struct {
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Type    string
		Args    []struct{ Value json.RawMessage }
		Entry   struct{ Level, Text, URL string }
		Request struct{ URL string }
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return ""
	}
	switch method {
	case "Runtime.exceptionThrown":
		return p.ExceptionDetails.Text + " " + p.ExceptionDetails.Exception.Description
	case "Runtime.consoleAPICalled":
		if (p.Type == "error" || p.Type == "warning") && len(p.Args) > 0 {
			return fmt.Sprintf("console: %s", p.Args[0].Value)
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" {
			return p.Entry.Text + " " + p.Entry.URL
		}
	case "Network.requestWillBeSent":
		url := p.Request.URL
		if strings.HasPrefix(url, "http") && !strings.HasPrefix(url, "http://"+host+"/") {
			return "request to another host: " + url
		}
	}
	return ""
}
