package gearman_test

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// These placeholders in the input of FuzzServer are replaced by the handles of two jobs. Real
// handles have the same length, so packet sizes stay correct.
var (
	foregroundHandle = []byte("H:foreground-job-with-u:")
	backgroundHandle = []byte("H:background-job-without")
)

// FuzzServer sends arbitrary bytes, in two pieces. The server must survive, release all jobs and
// sessions, and answer only complete packets and lines.
func FuzzServer(f *testing.F) {
	packet := gearman.RequestPacket
	text := func(b []byte, line string) []byte { return append(b, line...) }
	seed := func(packets ...[]byte) { f.Add(bytes.Join(packets, nil), uint16(9)) }
	for _, handle := range [][]byte{foregroundHandle, backgroundHandle} {
		seed(packet(gearman.SubmitJob, []byte("f"), []byte("u"), []byte("data")), packet(gearman.CanDo, []byte("f")), packet(gearman.GrabJobAll),
			packet(gearman.WorkStatus, handle, []byte("1"), []byte("2")), packet(gearman.WorkException, handle, []byte("oh")))
		seed(packet(gearman.CanDoTimeout, []byte("f"), []byte("1")), packet(gearman.PreSleep), packet(gearman.SubmitJobLowBG, []byte("f"), nil, nil),
			text([]byte("maxqueue f 1 2\ncancel job "), string(handle)+"\ndrop function f\nshutdown\n"))
	}
	seed(packet(gearman.SubmitJobEpoch, []byte("f"), []byte("-"), []byte("99999999999"), []byte("x")), []byte("show jobs\nstatus\nworkers\n"))
	seed(packet(gearman.SubmitReduceJob, []byte("f"), nil, []byte("r"), nil, []byte("x")), []byte("\x00REQ\x00\x00\x00\x08\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		broker := newBroker(t, desk.Config{}, desk.BrokerConfig{})
		broker.Lock()
		session := broker.Attach(silent{})
		foreground, _, err := session.Submit(gearman.Submission{Function: []byte("f"), Unique: []byte("u"), Data: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		background, _, err := session.Submit(gearman.Submission{Function: []byte("f"), Background: true})
		if err != nil {
			t.Fatal(err)
		}
		broker.Unlock()
		prefix := "H:" + strings.Repeat("x", len(foregroundHandle)-len("H::")-len(strconv.FormatUint(foreground, 10)))
		for placeholder, id := range map[*[]byte]uint64{&foregroundHandle: foreground, &backgroundHandle: background} {
			b = bytes.ReplaceAll(b, *placeholder, strconv.AppendUint([]byte(prefix+":"), id, 10))
		}

		l := newPipeListener()
		s := &gearman.Server{Listener: l, Broker: broker, HandlePrefix: prefix, MaxBody: 1 << 20}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		c := l.dial()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(c)
			got <- all
		}()
		n := min(int(cut), len(b))
		_, _ = c.Write(b[:n])
		_, _ = c.Write(b[n:])
		other := newClient(l.dial())
		other.read(t)
		if other.closed {
			t.Error("another connection was closed")
		}
		other.Close()
		cancel()
		<-ended
		checkAnswers(t, <-got)

		broker.Lock()
		defer broker.Unlock()
		session.Close()
		for _, w := range broker.Workers() {
			t.Errorf("worker %+v is left after all have left", w)
		}
		for _, f := range broker.Desk.Functions() {
			if f.Workers > 0 || f.Active > 0 {
				t.Errorf("function %q has workers or running jobs after all have left: %+v", f.Name, f)
			}
		}
		broker.Tasks(0, 1<<20, func(j queue.Info) {
			if j.Waiters > 0 || !j.Background {
				t.Errorf("job %d is kept for nobody", j.ID)
			}
		})
	})
}

// checkAnswers fails if b is not a sequence of packets and lines. The last one may be cut short
// by the end of the connection.
func checkAnswers(t *testing.T, b []byte) {
	for len(b) > 0 {
		if b[0] != 0 {
			_, b, _ = bytes.Cut(b, []byte("\n"))
			continue
		}
		rest, ok := gearman.CutAnswer(b)
		if !ok {
			t.Fatalf("answer %.50q", b)
		}
		b = rest
	}
}

// silent is a connection that drops all output.
type silent struct{}

func (silent) Wake()                 {}
func (silent) Update(gearman.Update) {}
func (silent) Durable(uint64)        {}
