package gearman_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
)

// startTCP starts a server on a free port, after change has configured it.
func startTCP(t testing.TB, b gearman.Broker, change func(*gearman.Server)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &gearman.Server{Listener: l, Broker: b, HandlePrefix: "H:x"}
	if change != nil {
		change(s)
	}
	serve(t, s)
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

func (c *client) ask(t testing.TB, typ gearman.Type, args ...string) {
	t.Helper()
	b := make([][]byte, len(args))
	for i := range args {
		b[i] = []byte(args[i])
	}
	if _, err := c.Write(gearman.RequestPacket(typ, b...)); err != nil {
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

// created waits for the answer to a submit and returns the handle of the job.
func (c *client) created(t testing.TB) string {
	t.Helper()
	got, err := c.answer()
	h, ok := strings.CutPrefix(got, "JOB_CREATED ")
	if err != nil || !ok {
		t.Fatalf("answer = %.200s, %v; want JOB_CREATED", got, err)
	}
	return h
}

// awaitKnown waits until a background job with a unique key is queued.
func (c *client) awaitKnown(t testing.TB, unique string) {
	t.Helper()
	for {
		c.ask(t, gearman.GetStatusUnique, unique)
		if a, err := c.answer(); err != nil {
			t.Fatal(err)
		} else if a == fmt.Sprintf("STATUS_RES_UNIQUE %s 1 0 0 0 0", unique) {
			return
		}
	}
}

// memoryBroker returns a desk.Broker with its jobs in memory.
func memoryBroker(t testing.TB) *desk.Broker {
	return newBroker(t, desk.Config{}, desk.BrokerConfig{})
}

// A stream cut into pieces of any size gets the same answers.
func TestFragments(t *testing.T) { inBothModes(t, testFragments) }

// created matches a JOB_CREATED packet.
var created = regexp.MustCompile(`(?s)\x00RES\x00\x00\x00\x08\x00\x00\x00.H:x:[0-9]+`)

// inBothModes runs a test with connections in loops (on Linux), and with a goroutine for each.
func inBothModes(t *testing.T, test func(t *testing.T, mode func(*gearman.Server))) {
	t.Run("loop", func(t *testing.T) { test(t, func(*gearman.Server) {}) })
	t.Run("alone", func(t *testing.T) { test(t, func(s *gearman.Server) { s.ServeAlone() }) })
}

func testFragments(t *testing.T, mode func(*gearman.Server)) {
	var stream []byte
	for i := range 20 {
		stream = append(stream, gearman.RequestPacket(gearman.EchoReq, fmt.Append(nil, i))...)
		stream = append(stream, gearman.RequestPacket(gearman.SubmitJobBG, []byte("f"), nil, make([]byte, i*37))...)
		stream = append(stream, "version\r\n"...)
	}
	var first []byte
	for _, size := range []int{1 << 20, 1, 7, 100} {
		addr := startTCP(t, memoryBroker(t), mode)
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
		n := 0
		got = created.ReplaceAllFunc(got, func(packet []byte) []byte { // handles differ between servers
			if h := packet[len(packet)-int(packet[len("\x00RES....\x00\x00\x00")]):]; !bytes.HasPrefix(h, []byte("H:x:")) {
				t.Errorf("size of %q does not agree with its handle", packet)
			}
			n++
			return fmt.Append(nil, "JOB_CREATED H:x:#", n)
		})
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) || len(got) == 0 {
			t.Errorf("in pieces of %d: %q, want %q", size, got, first)
		}
	}
}

func TestLargePackets(t *testing.T) { inBothModes(t, testLargePackets) }

func testLargePackets(t *testing.T, mode func(*gearman.Server)) {
	addr := startTCP(t, memoryBroker(t), mode)
	c, w := dialTCP(t, addr), dialTCP(t, addr)
	for _, size := range []int{gearman.KeepSize - 1, gearman.KeepSize, gearman.KeepSize + 1, gearman.ReadSize, gearman.ReadSize + 1, 1 << 20, 8 << 20} {
		data := make([]byte, size)
		rand.Read(data)
		function := fmt.Sprint("f", size)
		w.ask(t, gearman.ResetAbilities)
		w.ask(t, gearman.CanDo, function)
		w.ask(t, gearman.PreSleep)
		go func() { // two at once, so that the second begins in the same read
			c.Write(append(gearman.RequestPacket(gearman.EchoReq, data), gearman.RequestPacket(gearman.SubmitJob, []byte(function), nil, data)...))
		}()
		if _, args, err := gearman.ReadPacket(c.r); err != nil || !bytes.Equal(args[0], data) {
			t.Fatalf("echo of %d bytes: %v", size, err)
		}
		typ, created, err := gearman.ReadPacket(c.r)
		if err != nil || typ != gearman.JobCreated {
			t.Fatal(typ, err)
		}
		w.want(t, "NOOP")
		w.ask(t, gearman.GrabJob)
		_, args, err := gearman.ReadPacket(w.r)
		if err != nil || !bytes.Equal(args[2], data) {
			t.Fatalf("job of %d bytes: %v", size, err)
		}
		w.ask(t, gearman.WorkData, string(args[0]), string(data))
		w.ask(t, gearman.WorkComplete, string(args[0]), string(data))
		for _, want := range []gearman.Type{gearman.WorkData, gearman.WorkComplete} {
			typ, args, err := gearman.ReadPacket(c.r)
			if err != nil || typ != want || string(args[0]) != string(created[0]) || !bytes.Equal(args[1], data) {
				t.Fatalf("%v of %d bytes: %v", typ, size, err)
			}
		}
	}
}

// A client reads nothing of a worker's data. The worker is blocked, then the client is closed.
func TestSlowReader(t *testing.T) { inBothModes(t, testSlowReader) }

func testSlowReader(t *testing.T, mode func(*gearman.Server)) {
	var server *gearman.Server
	addr := startTCP(t, memoryBroker(t), func(s *gearman.Server) {
		mode(s)
		s.MaxPending, s.Stall, server = 256<<10, time.Second, s
	})
	c, w := dialTCP(t, addr), dialTCP(t, addr)
	c.ask(t, gearman.SubmitJob, "f", "", "x")
	c.read(nil)
	w.ask(t, gearman.CanDo, "f")
	w.ask(t, gearman.GrabJob)
	_, args, err := gearman.ReadPacket(w.r)
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
			most.Store(max(most.Load(), int64(server.MostPending())))
		}
	}()
	chunk := strings.Repeat("x", 8<<10) // small enough for a loop
	sent, start := 0, time.Now()
	for ; time.Since(start) < 10*time.Second && len(server.Remotes()) > 1; sent += len(chunk) {
		w.ask(t, gearman.WorkData, string(args[0]), chunk)
	}
	close(done)
	if n := len(server.Remotes()); n != 1 {
		t.Errorf("%d connections are left after %v, want the worker's", n, time.Since(start))
	}
	if got := most.Load(); got == 0 || got > 512<<10 {
		t.Errorf("up to %d bytes waited, want some, at most 512 KiB", got)
	}
	w.ask(t, gearman.EchoReq, "still here")
	for { // the job went with its client or not, in the middle of the chunks
		if a, err := w.answer(); err != nil {
			t.Fatal(err)
		} else if a == `ECHO_RES "still here"` {
			break
		}
	}
}

// durable makes background submits of a broker in memory wait for batches of its own.
type durable struct {
	*desk.Broker
	commit uint64
	peers  []gearman.Peer
	// ids holds the jobs in the order of submission.
	ids []uint64
}

func (d *durable) Attach(p gearman.Peer) gearman.Session {
	d.peers = append(d.peers, p)
	return &durableSession{d.Broker.Attach(p), d}
}

type durableSession struct {
	gearman.Session
	d *durable
}

func (s *durableSession) Submit(sub gearman.Submission) (uint64, uint64, error) {
	id, _, err := s.Session.Submit(sub)
	s.d.ids = append(s.d.ids, id)
	if !sub.Background {
		return id, 0, err
	}
	return id, s.d.commit + 1, err
}

// handle returns the handle of the n-th job, from 1.
func (d *durable) handle(n int) string {
	d.Lock()
	defer d.Unlock()
	return fmt.Sprint("H:x:", d.ids[n-1])
}

// begin starts a batch: later submits wait for the next one.
func (d *durable) begin() {
	d.Lock()
	defer d.Unlock()
	d.commit++
}

// end makes everything so far durable.
func (d *durable) end() {
	d.begin()
	d.tell()
}

func (d *durable) tell() {
	d.Lock()
	defer d.Unlock()
	for _, p := range d.peers {
		p.Durable(d.commit)
	}
}

func TestDurableSubmitsAreAnsweredAfterTheirCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &durable{Broker: memoryBroker(t)}
		l := newPipeListener()
		serve(t, &gearman.Server{Listener: l, Broker: d, HandlePrefix: "H:x"})
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
		expect := func(want ...string) { // #n is the handle of the n-th job
			t.Helper()
			synctest.Wait()
			for _, w := range want {
				if before, n, ok := strings.Cut(w, "#"); ok {
					i, _ := strconv.Atoi(n)
					w = before + d.handle(i)
				}
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
		a.ask(t, gearman.EchoReq, "1")
		a.ask(t, gearman.SubmitJobBG, "f", "", "x")
		a.ask(t, gearman.EchoReq, "2") // its answer must keep its place
		expect("ECHO_RES 1")
		b.ask(t, gearman.SubmitJob, "g", "", "not durable")
		expect("JOB_CREATED #2")
		d.end()
		expect("JOB_CREATED #1", "ECHO_RES 2")
		a.ask(t, gearman.SubmitJobBG, "f", "", "x")
		b.ask(t, gearman.SubmitJobBG, "f", "", "x")
		expect()
		d.end()
		synctest.Wait()
		if len(got) != 2 {
			t.Errorf("%d answers after the commit of both, want 2", len(got))
		}
		<-got
		<-got
		a.ask(t, gearman.SubmitJobBG, "f", "", "x")
		synctest.Wait()
		d.begin() // a's waits for this one, and the next for a later one
		a.ask(t, gearman.SubmitJobBG, "f", "", "x")
		expect()
		d.tell()
		expect("JOB_CREATED #5")
		d.end()
		expect("JOB_CREATED #6")
		a.Close()
		b.Close()
	})
}

// Large packets start and do not end. Together they use only the permitted memory; others wait
// for room, and stalled ones are closed in time.
func TestHalfPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memoryBroker(t)
		l := newPipeListener()
		serve(t, &gearman.Server{Listener: l, Broker: broker, HandlePrefix: "H:x", MaxBody: 1 << 20, MaxArriving: 1 << 20})
		packet := gearman.RequestPacket(gearman.SubmitJobBG, []byte("f"), nil, make([]byte, 900<<10))
		begin := time.Now()
		half, whole, late := newClient(l.dial()), newClient(l.dial()), newClient(l.dial())
		if _, err := half.Write(packet[:800<<10]); err != nil {
			t.Fatal(err)
		}
		answers := make(chan string, 2)
		for _, c := range []*client{whole, late} {
			go func() {
				go func() { _, _ = c.Write(packet) }()
				answer, err := c.answer()
				answers <- fmt.Sprint(answer, " ", err)
			}()
		}
		synctest.Wait()
		if len(answers) > 0 {
			t.Errorf("%s, though there is no room", <-answers)
		}
		// The first connection is closed after its deadline; by then the waiting ones have been
		// refused.
		for range 2 {
			if got := <-answers; !strings.HasPrefix(got, "ERROR QUEUE_ERROR") {
				t.Errorf("%s, want an error", got)
			}
		}
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("refused after %v", took)
		}
		if _, err := half.answer(); err == nil {
			t.Error("half a packet got an answer")
		}
		if took := time.Since(begin); took < 30*time.Second || took > time.Minute {
			t.Errorf("half a packet was closed after %v", took)
		}
		again := newClient(l.dial())
		go func() { _, _ = again.Write(packet) }()
		again.created(t)
		if n := countJobs(broker); n != 1 {
			t.Errorf("there are %d jobs, want 1", n)
		}
		for _, c := range []*client{half, whole, late, again} {
			c.Close()
		}
	})
}

func countJobs(b *desk.Broker) (n int) {
	b.Lock()
	defer b.Unlock()
	b.Jobs(0, 1<<20, func(gearman.JobInfo) { n++ })
	return n
}

// A client requests a long listing and does not read it. Others are served meanwhile; other
// output for the connection follows the listing.
func TestListing(t *testing.T) {
	const jobs = 50_000 // a listing larger than MaxPending
	synctest.Test(t, func(t *testing.T) {
		broker := memoryBroker(t)
		broker.Lock()
		s := broker.Attach(silent{})
		handles := make([]string, jobs, jobs+1)
		for i := range handles {
			id, _, err := s.Submit(gearman.Submission{Function: []byte("queued"), Background: true})
			if err != nil {
				t.Fatal(err)
			}
			handles[i] = fmt.Sprint("H:x:", id)
		}
		broker.Unlock()
		l := newPipeListener()
		serve(t, &gearman.Server{Listener: l, Broker: broker, HandlePrefix: "H:x", MaxPending: 256 << 10})
		c, w := newClient(l.dial()), newClient(l.dial())
		defer c.Close()
		defer w.Close()
		c.ask(t, gearman.SubmitJob, "f", "", "x")
		last := c.created(t)
		handles = append(handles, last)
		c.Write([]byte("show jobs\n"))
		go c.Write(gearman.RequestPacket(gearman.EchoReq, []byte("end"))) // read only after the listing
		synctest.Wait()
		w.ask(t, gearman.CanDo, "f")
		w.ask(t, gearman.GrabJob)
		w.want(t, "JOB_ASSIGN "+last+" f x")
		w.ask(t, gearman.WorkData, last, "part")
		w.ask(t, gearman.EchoReq, "served")
		w.want(t, "ECHO_RES served")
		for i, h := range handles {
			if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, h+"\t0\t0\t") {
				t.Fatalf("line %d is %q, %v", i, line, err)
			}
		}
		c.want(t, `".\n"`)
		c.want(t, "WORK_DATA "+last+" part")
		c.want(t, "ECHO_RES end")
	})
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
	addr := startTCP(t, memoryBroker(t), func(s *gearman.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		s.MayWork = func(s tls.ConnectionState) bool { return s.ServerName == "localhost" }
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
		go c.Write(gearman.RequestPacket(gearman.EchoReq, []byte(data)))
		c.want(t, "ECHO_RES "+data)
	}
	c.ask(t, gearman.CanDo, "f")
	c.want(t, "ERROR INVALID_COMMAND")
	worker, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	w := newClient(worker)
	w.ask(t, gearman.CanDo, "f")
	w.ask(t, gearman.EchoReq, "none")
	w.want(t, "ECHO_RES none")
}

// lagging is a broker whose store is behind until room is closed.
type lagging struct {
	*durable
	room chan struct{}
}

func (b lagging) UnlockNow() bool {
	b.Unlock()
	select {
	case <-b.room:
		return false
	default:
		return true
	}
}

func (b lagging) WaitForBacklog() { <-b.room }

// One connection submits more than the store can take. It waits; others do not.
func TestLagging(t *testing.T) {
	d := &durable{Broker: memoryBroker(t)}
	b := lagging{d, make(chan struct{})}
	addr := startTCP(t, b, nil)
	c, other := dialTCP(t, addr), dialTCP(t, addr)
	c.ask(t, gearman.SubmitJobBG, "f", "first", "x")
	other.awaitKnown(t, "first") // until it was handed over
	d.end()
	c.want(t, "JOB_CREATED "+d.handle(1))
	c.ask(t, gearman.SubmitJobBG, "f", "second", "y")
	for range 100 {
		other.ask(t, gearman.GetStatusUnique, "second")
		other.want(t, "STATUS_RES_UNIQUE second 0 0 0 0 0")
	}
	close(b.room)
	c.ask(t, gearman.EchoReq, "x")
	other.awaitKnown(t, "second") // the connection has left the loop and continues by itself
	d.end()
	c.want(t, "JOB_CREATED "+d.handle(2))
	c.want(t, "ECHO_RES x")
}

// Run closes connections of every kind and returns.
func TestRunEnds(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*gearman.Server)) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &gearman.Server{Listener: l, Broker: memoryBroker(t), HandlePrefix: "H:x"}
		mode(s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		idle, text, half := dialTCP(t, l.Addr().String()), dialTCP(t, l.Addr().String()), dialTCP(t, l.Addr().String())
		idle.ask(t, gearman.EchoReq, "x")
		idle.want(t, "ECHO_RES x")
		text.Write([]byte("version\n"))
		text.want(t, `"OK 1.1.20\n"`)
		half.Write(append(gearman.RequestPacket(gearman.EchoReq, []byte("x")), gearman.RequestPacket(gearman.EchoReq, make([]byte, 1<<20))[:1000]...))
		half.want(t, "ECHO_RES x")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		for _, c := range []*client{idle, text, half} {
			if a, err := c.answer(); err == nil {
				t.Errorf("got %s after the end", a)
			}
		}
	})
}

func TestTooManyConnections(t *testing.T) {
	addr := startTCP(t, memoryBroker(t), func(s *gearman.Server) { s.MaxConnections = 1 })
	first := dialTCP(t, addr)
	first.ask(t, gearman.EchoReq, "x")
	first.want(t, "ECHO_RES x")
	if b, err := io.ReadAll(dialTCP(t, addr)); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("second connection got %q, %v; want the end", b, err)
	}
	first.ask(t, gearman.EchoReq, "y")
	first.want(t, "ECHO_RES y")
}

func TestPrefixTooLong(t *testing.T) {
	l := newPipeListener()
	if err := (&gearman.Server{Listener: l, Broker: memoryBroker(t), HandlePrefix: strings.Repeat("x", 41)}).Run(t.Context()); err == nil {
		t.Error("a handle of more than 64 bytes was allowed")
	}
}
