package gearman_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// While the desk cannot write, a background submit gets no answer. Foreground jobs are not
// written. After a restart the background job exists, with its input.
func TestBackgroundJobsAreAnsweredWhenTheyAreOnDisk(t *testing.T) {
	dir := t.TempDir()
	cfg := desk.Config{Dir: dir, Reserve: -1}
	d, err := desk.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopServer := serve(t, &gearman.Server{Listener: l, Broker: desk.NewBroker(d, desk.BrokerConfig{}), HandlePrefix: "H:x"})
	c, other := dialTCP(t, l.Addr().String()), dialTCP(t, l.Addr().String())
	c.ask(t, gearman.SubmitJobBG, "f", "u", "data")
	other.awaitKnown(t, "u")
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if a, err := c.answer(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v before the job was on disk", a, err)
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	ctx, stopDesk := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	handle := c.created(t)
	c.ask(t, gearman.SubmitJob, "f", "v", "not durable")
	c.created(t)
	stopServer()
	stopDesk()
	if err := errors.Join(<-ended, d.Close()); err != nil {
		t.Fatal(err)
	}

	d = openDesk(t, cfg)
	broker := desk.NewBroker(d, desk.BrokerConfig{})
	broker.Lock()
	defer broker.Unlock()
	broker.Jobs(0, 10, func(j gearman.JobInfo) {
		if got := fmt.Sprint("H:x:", j.ID); got != handle || !j.Stored || j.Unique != "u" {
			t.Errorf("after a restart there is %+v; want the background job, %s, only", j, handle)
		}
	})
	s := broker.Attach(silent{})
	s.CanDo([]byte("f"), 0)
	if j, ok := s.Grab(); !ok || string(j.Data) != "data" || j.Unique != "u" {
		t.Errorf("after a restart a worker gets %+v, %v", j, ok)
	}
}

// Many jobs run through the broker. Afterwards it keeps only failed background jobs, until they
// are forgotten.
func TestNothingIsLeft(t *testing.T) {
	broker := newBroker(t, desk.Config{}, desk.BrokerConfig{})
	broker.Lock()
	defer broker.Unlock()
	s := broker.Attach(silent{})
	s.CanDo([]byte("f"), 0)
	for i := range 5000 {
		_, _, err := s.Submit(gearman.Submission{Function: []byte("f"), Unique: []byte{byte('a' + i%20)}, Data: []byte("x"), Background: i%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		j, ok := s.Grab()
		if !ok || string(j.Data) != "x" || j.Unique == "" {
			t.Fatalf("job %d: %+v, %v", i, j, ok)
		}
		kind := []gearman.Type{gearman.WorkComplete, gearman.WorkFail, gearman.WorkException}[i%3]
		if err := s.Work(gearman.Update{ID: j.ID, Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if err := s.Work(gearman.Update{ID: j.ID, Kind: kind}); err != gearman.ErrNoJob {
			t.Fatalf("second end: %v, want ErrNoJob", err)
		}
		if failed := i%3 != 0; i%2 == 0 && failed && !broker.Forget(queue.ID(j.ID)) {
			t.Fatalf("background job %d failed and is not kept", i)
		}
		if _, err := broker.Input(queue.ID(j.ID)); err == nil {
			t.Fatalf("the input of job %d is left", i)
		}
	}
	broker.Tasks(0, 10, func(j queue.Info) { t.Errorf("job %+v is left", j) })
}
