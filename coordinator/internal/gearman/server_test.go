package gearman

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// startTCP starts a server on a free port. change may alter it before.
func startTCP(t testing.TB, m runner, change func(*Server)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Listener: l, Broker: m, HandlePrefix: "H:x"}
	if change != nil {
		change(s)
	}
	serve(t, s, m)
	return l.Addr().String()
}

func dialTCP(t testing.TB, addr string) *client {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return newClient(c)
}

func (c *client) ask(t testing.TB, typ Type, args ...string) {
	t.Helper()
	b := make([][]byte, len(args))
	for i := range args {
		b[i] = []byte(args[i])
	}
	if _, err := c.Write(requestPacket(typ, b...)); err != nil {
		t.Fatal(err)
	}
}

func (c *client) want(t testing.TB, answer string) {
	t.Helper()
	got, err := c.answer()
	if err != nil || got != answer {
		t.Fatalf("answer = %.200s, %v; want %.200s", got, err, answer)
	}
}

func firstID(id uint64) *Memory {
	m := NewMemory()
	m.FirstID = id
	return m
}

func TestFragments(t *testing.T) {
	var stream []byte
	for i := range 20 {
		stream = append(stream, requestPacket(EchoReq, fmt.Append(nil, i))...)
		stream = append(stream, requestPacket(SubmitJobBG, []byte("f"), nil, make([]byte, i*37))...)
		stream = append(stream, "version\r\n"...)
	}
	var first []byte
	for _, size := range []int{1 << 20, 1, 7, 100} {
		addr := startTCP(t, firstID(1), nil)
		c := dialTCP(t, addr)
		go func() {
			for b := stream; len(b) > 0; b = b[min(size, len(b)):] {
				c.Write(b[:min(size, len(b))])
			}
			c.Conn.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) || len(got) == 0 {
			t.Errorf("in pieces of %d: %q, want %q", size, got, first)
		}
	}
}

func TestLargePackets(t *testing.T) {
	addr := startTCP(t, NewMemory(), nil)
	c, w := dialTCP(t, addr), dialTCP(t, addr)
	for _, size := range []int{keepSize - 1, keepSize, keepSize + 1, readSize, readSize + 1, 1 << 20, 8 << 20} {
		data := make([]byte, size)
		rand.Read(data)
		function := fmt.Sprint("f", size)
		w.ask(t, ResetAbilities)
		w.ask(t, CanDo, function)
		w.ask(t, PreSleep)
		go func() { // two at once, so that the second begins in the same read
			c.Write(append(requestPacket(EchoReq, data), requestPacket(SubmitJob, []byte(function), nil, data)...))
		}()
		if _, args, err := readPacket(c.r); err != nil || !bytes.Equal(args[0], data) {
			t.Fatalf("echo of %d bytes: %v", size, err)
		}
		typ, created, err := readPacket(c.r)
		if err != nil || typ != JobCreated {
			t.Fatal(typ, err)
		}
		w.want(t, "NOOP")
		w.ask(t, GrabJob)
		_, args, err := readPacket(w.r)
		if err != nil || !bytes.Equal(args[2], data) {
			t.Fatalf("job of %d bytes: %v", size, err)
		}
		w.ask(t, WorkData, string(args[0]), string(data))
		w.ask(t, WorkComplete, string(args[0]), string(data))
		for _, want := range []Type{WorkData, WorkComplete} {
			typ, args, err := readPacket(c.r)
			if err != nil || typ != want || string(args[0]) != string(created[0]) || !bytes.Equal(args[1], data) {
				t.Fatalf("%v of %d bytes: %v", typ, size, err)
			}
		}
	}
}

// TestSlowReader has a client that reads nothing of what a worker sends it. The worker is held up, then the client closed.
func TestSlowReader(t *testing.T) {
	m := NewMemory()
	var server *Server
	addr := startTCP(t, m, func(s *Server) { s.MaxPending, s.Stall, server = 256<<10, time.Second, s })
	c, w := dialTCP(t, addr), dialTCP(t, addr)
	c.ask(t, SubmitJob, "f", "", "x")
	c.read(nil)
	w.ask(t, CanDo, "f")
	w.ask(t, GrabJob)
	_, args, err := readPacket(w.r)
	if err != nil {
		t.Fatal(err)
	}
	var most atomic.Int64
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			for _, c := range server.connections() {
				c.out.mu.Lock()
				most.Store(max(most.Load(), int64(c.out.pending)))
				c.out.mu.Unlock()
			}
		}
	}()
	chunk := strings.Repeat("x", 32<<10)
	sent, start := 0, time.Now()
	for ; time.Since(start) < 10*time.Second && len(server.connections()) > 1; sent += len(chunk) {
		w.ask(t, WorkData, string(args[0]), chunk)
	}
	close(done)
	if n := len(server.connections()); n != 1 {
		t.Errorf("%d connections are left after %v, want the worker's", n, time.Since(start))
	}
	if got := most.Load(); got == 0 || got > 512<<10 {
		t.Errorf("up to %d bytes waited, want some, at most 512 KiB", got)
	}
	w.ask(t, EchoReq, "still here")
	for { // the job went with its client or not, in the middle of the chunks
		if a, err := w.answer(); err != nil {
			t.Fatal(err)
		} else if a == `ECHO_RES "still here"` {
			break
		}
	}
}

// durable makes the submits of a Memory wait for commits.
type durable struct {
	*Memory
	commit uint64
	peers  []Peer
}

func (d *durable) Attach(p Peer) Session {
	d.peers = append(d.peers, p)
	return &durableSession{d.Memory.Attach(p), d}
}

type durableSession struct {
	Session
	d *durable
}

func (s *durableSession) Submit(sub Submission) (uint64, uint64, error) {
	id, _, err := s.Session.Submit(sub)
	if !sub.Background {
		return id, 0, err
	}
	return id, s.d.commit + 1, err
}

// begin begins a commit: later submits wait for the next one.
func (d *durable) begin() {
	d.Lock()
	defer d.Unlock()
	d.commit++
}

// end does a whole commit.
func (d *durable) end() {
	d.begin()
	d.tell()
}

func (d *durable) tell() {
	d.Lock()
	defer d.Unlock()
	for _, p := range d.peers {
		p.Committed(d.commit)
	}
}

func TestDurableSubmitsAreAnsweredAfterTheirCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		m.FirstID = 1
		d := &durable{Memory: m}
		l := newPipeListener()
		serve(t, &Server{Listener: l, Broker: d, HandlePrefix: "H:x"}, m)
		a, b := newClient(l.dial()), newClient(l.dial())
		got := make(chan string, 100)
		for _, c := range []*client{a, b} {
			go func() {
				for {
					s, err := c.answer()
					if err != nil {
						return
					}
					got <- s
				}
			}()
		}
		heard := func(want ...string) {
			t.Helper()
			synctest.Wait()
			for _, w := range want {
				select {
				case g := <-got:
					if g != w {
						t.Errorf("got %s, want %s", g, w)
					}
				default:
					t.Errorf("got nothing, want %s", w)
				}
			}
			if len(got) > 0 {
				t.Errorf("got %s too", <-got)
			}
		}
		a.ask(t, EchoReq, "1")
		a.ask(t, SubmitJobBG, "f", "", "x")
		a.ask(t, EchoReq, "2") // its answer keeps its place, and it is read although the first waits
		heard("ECHO_RES 1")
		b.ask(t, SubmitJob, "g", "", "not durable")
		heard("JOB_CREATED H:x:2")
		d.end()
		heard("JOB_CREATED H:x:1", "ECHO_RES 2")
		a.ask(t, SubmitJobBG, "f", "", "x")
		b.ask(t, SubmitJobBG, "f", "", "x")
		heard()
		d.end()
		synctest.Wait()
		if len(got) != 2 {
			t.Errorf("%d answers after the commit of both, want 2", len(got))
		}
		<-got
		<-got
		a.ask(t, SubmitJobBG, "f", "", "x")
		synctest.Wait()
		d.begin() // a's waits for this one, and the next for a later one
		a.ask(t, SubmitJobBG, "f", "", "x")
		heard()
		d.tell()
		heard("JOB_CREATED H:x:5")
		d.end()
		heard("JOB_CREATED H:x:6")
		a.Close()
		b.Close()
	})
}

// TestListing asks for a long listing. Others are served meanwhile, and what is for the connection itself comes after it.
func TestListing(t *testing.T) {
	const jobs = 200_000
	m := NewMemory()
	addr := startTCP(t, m, nil)
	c, w, other := dialTCP(t, addr), dialTCP(t, addr), dialTCP(t, addr)
	m.Lock()
	s := m.Attach(nil)
	for range jobs {
		_, _, _ = s.Submit(Submission{Function: []byte("queued"), Background: true})
	}
	m.Unlock()
	c.ask(t, SubmitJob, "f", "", "x")
	c.read(t)
	w.ask(t, CanDo, "f")
	w.ask(t, GrabJob)
	_, args, err := readPacket(w.r)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("show jobs\n"))
	c.Write(requestPacket(EchoReq, []byte("end")))
	if _, err := c.r.Peek(1); err != nil { // it has begun
		t.Fatal(err)
	}
	w.ask(t, WorkData, string(args[0]), "part")
	var slowest time.Duration
	lines := make(chan int)
	go func() {
		n := 0
		for {
			line, err := c.r.ReadString('\n')
			if err != nil || line == ".\n" {
				lines <- n
				return
			}
			n++
		}
	}()
	for n := -1; n < 0; {
		start := time.Now()
		other.ask(t, EchoReq, "x")
		other.want(t, "ECHO_RES x")
		slowest = max(slowest, time.Since(start))
		select {
		case n = <-lines:
			if n != jobs+1 {
				t.Errorf("%d lines, want %d", n, jobs+1)
			}
		default:
		}
	}
	c.want(t, "WORK_DATA "+string(args[0])+" part")
	c.want(t, "ECHO_RES end")
	t.Logf("others waited up to %v", slowest)
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	addr := startTCP(t, NewMemory(), func(s *Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	})
	raw := dialTCP(t, addr)
	raw.Write([]byte("status\nstatus\n"))
	if b, _ := io.ReadAll(raw); bytes.Contains(b, []byte(".\n")) {
		t.Errorf("answered %q without TLS", b)
	}
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newClient(nc)
	for range 3 {
		data := strings.Repeat("x", 300_000)
		go c.Write(requestPacket(EchoReq, []byte(data)))
		c.want(t, "ECHO_RES "+data)
	}
}

func TestTooManyConnections(t *testing.T) {
	addr := startTCP(t, NewMemory(), func(s *Server) { s.MaxConnections = 1 })
	first := dialTCP(t, addr)
	first.ask(t, EchoReq, "x")
	first.want(t, "ECHO_RES x")
	if b, err := io.ReadAll(dialTCP(t, addr)); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("second connection got %q, %v; want the end", b, err)
	}
	first.ask(t, EchoReq, "y")
	first.want(t, "ECHO_RES y")
}

func TestPrefixTooLong(t *testing.T) {
	l := newPipeListener()
	if err := (&Server{Listener: l, Broker: NewMemory(), HandlePrefix: strings.Repeat("x", 41)}).Run(t.Context()); err == nil {
		t.Error("a handle of more than 64 bytes was allowed")
	}
}

func TestHandles(t *testing.T) {
	s := &Server{prefix: "H:x:"}
	for _, id := range []uint64{1, 10, 1<<64 - 1} {
		if got := s.parseHandle(s.appendHandle(nil, id)); got != id {
			t.Errorf("handle of %d is that of %d", id, got)
		}
	}
	for _, h := range []string{"", "H:x:", "H:x:0", "H:x:01", "H:x:18446744073709551616", "H:x:99999999999999999999", "H:x:1x", "H:y:1", "H:x:-1"} {
		if got := s.parseHandle([]byte(h)); got != 0 {
			t.Errorf("%q is the handle of %d", h, got)
		}
	}
}
