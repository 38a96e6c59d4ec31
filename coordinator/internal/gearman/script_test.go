package gearman_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestScripts plays the stories in testdata/scripts. A story is a list of blocks: what connections
// send, a line of four dashes, what they get. Blocks are separated by empty lines.
//
//	C PACKET ARG ...      connection C sends a packet; it is made by its first line. Arguments are words or Go strings
//	C text LINE           C sends a line of the text protocol
//	C raw GO-STRING       C sends bytes
//	C close
//	advance DURATION
//	option NAME VALUE     retries, body, shutdown: before anything else
//	differs WHY           gearmand is known to answer otherwise
func TestScripts(t *testing.T) {
	for name, text := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := play(t, text, start(t, text))
				if *update {
					if err := os.WriteFile("testdata/scripts/"+name+".txt", []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if got != text {
					t.Errorf("answers differ; run with -update and review the diff. Got:\n%s", got)
				}
			})
		})
	}
}

// TestScriptsAgreeWithGearmand plays the same stories on gearmand, if it is installed.
func TestScriptsAgreeWithGearmand(t *testing.T) {
	for name, text := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(text, "\ndiffers ") || strings.HasPrefix(text, "differs ") {
				t.Skip("the story says where gearmand differs")
			}
			if got := play(t, text, startGearmand(t)); got != text {
				t.Errorf("gearmand answers otherwise:\n%s", got)
			}
		})
	}
}

func scripts(t *testing.T) map[string]string {
	files, _ := filepath.Glob("testdata/scripts/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts in testdata")
	}
	all := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".txt")] = string(b)
	}
	return all
}

// options returns the options of a story.
func options(text string) map[string]string {
	o := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "option" {
			o[f[1]] = f[2]
		}
	}
	return o
}

// TestScriptsOverSockets plays the stories without a clock over real connections, which are in a
// loop on Linux.
func TestScriptsOverSockets(t *testing.T) {
	for name, text := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(text, "advance ") {
				t.Skip("the story needs a clock")
			}
			var server *gearman.Server
			addr := startTCP(t, scriptBroker(t, text), func(s *gearman.Server) {
				server = s
				setOptions(s, text)
			})
			got := play(t, text, func() net.Conn { return noticed{dialTCP(t, addr).Conn, server} })
			if got = strings.ReplaceAll(got, " 127.0.0.1 ", " pipe "); got != text {
				t.Errorf("over sockets the answers differ:\n%s", got)
			}
		})
	}
}

// noticed is a connection whose Close waits until the server has removed it.
type noticed struct {
	net.Conn
	server *gearman.Server
}

func (c noticed) Close() error {
	err := c.Conn.Close()
	for slices.ContainsFunc(c.server.Remotes(), func(a net.Addr) bool { return a.String() == c.LocalAddr().String() }) {
		runtime.Gosched()
	}
	return err
}

// start starts our server with the options of a story, and returns a dial function.
func start(t *testing.T, text string) func() net.Conn {
	l := newPipeListener()
	s := &gearman.Server{Listener: l, Broker: scriptBroker(t, text), HandlePrefix: "H:x"}
	setOptions(s, text)
	serve(t, s)
	return func() net.Conn { return l.dial() }
}

func scriptBroker(t *testing.T, text string) *desk.Broker {
	attempts, _ := strconv.Atoi(options(text)["retries"])
	return newBroker(t, desk.Config{}, desk.BrokerConfig{Policy: queue.Policy{Attempts: attempts}})
}

func setOptions(s *gearman.Server, text string) {
	o := options(text)
	s.MaxBody, _ = strconv.Atoi(o["body"])
	if o["shutdown"] != "" {
		s.Shutdown = func(bool) {}
	}
}

// newBroker returns a desk.Broker over a desk that runs until the test ends.
func newBroker(t testing.TB, cfg desk.Config, b desk.BrokerConfig) *desk.Broker {
	t.Helper()
	d := openDesk(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run of the desk = %v", err)
		}
	})
	return desk.NewBroker(d, b)
}

// openDesk returns a desk without running it. It is closed when the test ends.
func openDesk(t testing.TB, cfg desk.Config) *desk.Desk {
	t.Helper()
	d, err := desk.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Lock()
		for _, bad := range d.Audit() {
			t.Error(bad)
		}
		d.Unlock()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// serve runs a server until stop is called or the test ends.
func serve(t testing.TB, s *gearman.Server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func startGearmand(t *testing.T) func() net.Conn {
	path, err := exec.LookPath("gearmand")
	if err != nil {
		t.Skip("no gearmand here: Debian's package is gearman-job-server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	cmd := exec.Command(path, "-t", "1", "-L", "127.0.0.1", "-p", port, "-l", dir+"/log", "-P", dir+"/pid", "--job-handle-prefix", "H:x")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return func() net.Conn {
		for deadline := time.Now().Add(5 * time.Second); ; {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				return c
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// handle matches handles of a story or of a server. A story numbers its handles in order of
// creation.
var handle = regexp.MustCompile(`H:x:#?[0-9]+`)

// player plays one story.
type player struct {
	t     *testing.T
	dial  func() net.Conn
	conns map[string]*client

	handles map[string]string // handles of the story to handles of the server, and the reverse
	n       int
}

func play(t *testing.T, text string, dial func() net.Conn) string {
	p := &player{t: t, dial: dial, conns: map[string]*client{}, handles: map[string]string{}}
	defer func() {
		for _, c := range p.conns {
			c.Close()
		}
	}()
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		in, _, _ := strings.Cut(block+"\n", "----\n")
		for line := range strings.SplitSeq(strings.TrimSpace(in), "\n") {
			if line != "" && line[0] != '#' {
				p.line(line)
			}
		}
		out = append(out, strings.TrimSpace(in)+"\n----\n"+p.answers())
	}
	return strings.Join(out, "\n")
}

func (p *player) line(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "option", "differs":
		return
	case "advance":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(d)
		return
	}
	c := p.conns[word]
	if c == nil {
		c = newClient(p.dial())
		p.conns[word] = c
	}
	verb, rest, _ := strings.Cut(rest, " ")
	rest = handle.ReplaceAllStringFunc(rest, func(h string) string { return cmp.Or(p.handles[h], h) })
	var b []byte
	switch verb {
	case "close":
		c.Close()
		delete(p.conns, word)
		// The server may only notice after it answers another connection.
		p.settle()
		return
	case "text":
		b = []byte(rest + "\n")
	case "raw":
		b = []byte(p.unquote(rest))
	default:
		b = p.packet(verb, rest)
	}
	if _, err := c.Write(b); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	defer func() {
		for _, a := range c.got {
			if h, ok := strings.CutPrefix(a, "JOB_CREATED "); ok && p.handles[h] == "" {
				p.n++
				name := fmt.Sprint("H:x:#", p.n)
				p.handles[h], p.handles[name] = name, h
			}
		}
	}()
	c.read(p.t) // so that lines take effect in their order
}

// settle gives the server time to notice the end of a connection.
func (p *player) settle() { time.Sleep(50 * time.Millisecond) }

func (p *player) unquote(s string) string {
	v, err := strconv.Unquote(s)
	if err != nil {
		p.t.Fatalf("%s: %v", s, err)
	}
	return v
}

func (p *player) packet(name, rest string) []byte {
	typ, ok := gearman.TypeNamed(name)
	if !ok {
		p.t.Fatalf("no packet %q", name)
	}
	var args [][]byte
	for _, w := range words(rest) {
		if strings.HasPrefix(w, `"`) {
			w = p.unquote(w)
		}
		args = append(args, []byte(w))
	}
	return gearman.RequestPacket(typ, args...)
}

// words splits at spaces outside of quotes.
func words(s string) []string {
	var all []string
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		w, err := strconv.QuotedPrefix(s)
		if err != nil {
			w, _, _ = strings.Cut(s, " ")
		}
		all = append(all, w)
		s = s[len(w):]
	}
	return all
}

func (p *player) answers() string {
	var out strings.Builder
	for _, name := range slices.Sorted(mapKeys(p.conns)) {
		c := p.conns[name]
		c.read(p.t)
		for _, a := range c.got {
			a = handle.ReplaceAllStringFunc(a, func(h string) string { return cmp.Or(p.handles[h], h) })
			fmt.Fprintf(&out, "%s %s\n", name, a)
		}
		c.got = nil
	}
	return out.String()
}

func mapKeys(m map[string]*client) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// client is one connection of a story.
type client struct {
	net.Conn
	r      *bufio.Reader
	got    []string
	closed bool
}

func newClient(c net.Conn) *client { return &client{Conn: c, r: bufio.NewReader(c)} }

// read reads all answers so far, up to the answer to an echo request of its own.
func (c *client) read(t testing.TB) {
	if c.closed {
		return
	}
	const end = "no more for now"
	c.SetDeadline(time.Now().Add(10 * time.Second))
	defer c.SetDeadline(time.Time{})
	go c.Write(gearman.RequestPacket(gearman.EchoReq, []byte(end)))
	for {
		a, err := c.answer()
		if err != nil {
			c.got, c.closed = append(c.got, "closed"), true
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("no answer for 10 s")
			}
			return
		}
		if a == fmt.Sprintf("ECHO_RES %q", end) {
			return
		}
		c.got = append(c.got, a)
	}
}

// answer reads one packet or line.
func (c *client) answer() (string, error) {
	first, err := c.r.Peek(1)
	if err != nil {
		return "", err
	}
	if first[0] != 0 {
		line, err := c.r.ReadString('\n')
		return strconv.Quote(line), err
	}
	typ, args, err := gearman.ReadPacket(c.r)
	if err != nil {
		return "", err
	}
	out := []string{typ.String()}
	for _, a := range args {
		w := string(a)
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
			w = strconv.Quote(w)
		}
		out = append(out, w)
	}
	return strings.Join(out, " "), nil
}

// pipeListener is a listener for in-process connections without sockets.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
