package gearman

import (
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// TestQueuedDurable has background submits wait for the commit of their records, with their inputs. Foreground ones have none.
func TestQueuedDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commit, inputs := uint64(1), 0
		q := NewQueued(queue.New(queue.Config{}), QueuedConfig{Write: func(c queue.Command, payload Input) uint64 {
			if c.Op == queue.Write && c.Payload == queue.FromEvent {
				if string(payload.Data) != "data" || payload.Unique != "u" {
					t.Errorf("a record comes with %+v", payload)
				}
				inputs++
			}
			return commit
		}})
		dial := start(t, nil, q)
		c := newClient(dial())
		got := make(chan string, 10)
		go func() {
			for {
				a, err := c.answer()
				if err != nil {
					return
				}
				got <- a
			}
		}()
		c.ask(t, SubmitJob, "f", "", "not durable")
		synctest.Wait()
		q.Committed(commit) // of the record that reserves IDs
		commit++
		<-got
		if inputs != 0 {
			t.Error("a foreground job was recorded")
		}
		c.ask(t, SubmitJobBG, "f", "u", "data")
		synctest.Wait()
		if len(got) > 0 || inputs != 1 {
			t.Errorf("%d answers before the commit, %d inputs recorded; want 0 and 1", len(got), inputs)
		}
		q.Committed(commit)
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("%d answers after the commit, want 1", len(got))
		}
		c.Close()
	})
}

// TestQueuedForgets runs many jobs through: nothing is left of them.
func TestQueuedForgets(t *testing.T) {
	q := NewQueued(queue.New(queue.Config{}), QueuedConfig{})
	s := q.Attach(silent{})
	s.CanDo([]byte("f"), 0)
	for i := range 5000 {
		_, _, err := s.Submit(Submission{Function: []byte("f"), Unique: []byte{byte('a' + i%20)}, Data: []byte("x"), Background: i%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		j, ok := s.Grab()
		if !ok || string(j.Data) != "x" || j.Unique == "" {
			t.Fatalf("job %d: %+v, %v", i, j, ok)
		}
		kind := []Type{WorkComplete, WorkFail, WorkException}[i%3]
		if err := s.Work(Update{ID: j.ID, Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if err := s.Work(Update{ID: j.ID, Kind: kind}); err != ErrNoJob {
			t.Fatalf("second end: %v, want ErrNoJob", err)
		}
	}
	q.Jobs(0, 10, func(j JobInfo) { t.Errorf("job %+v is left", j) })
	if raised := s.(*queuedSession).raised; len(raised) > 0 {
		t.Errorf("exceptions are left: %v", raised)
	}
	if a := q.core.Audit(); len(a) > 0 {
		t.Error(a)
	}
}

type silent struct{}

func (silent) Wake()            {}
func (silent) Update(Update)    {}
func (silent) Committed(uint64) {}

// BenchmarkSubmit measures what a background submit costs between the socket and the queue.
func BenchmarkSubmit(b *testing.B) {
	for _, broker := range []struct {
		name string
		new  func() Broker
	}{
		{"memory", func() Broker { return NewMemory() }},
		{"core", func() Broker { return NewQueued(queue.New(queue.Config{}), QueuedConfig{}) }},
	} {
		b.Run(broker.name, func(b *testing.B) {
			s := &Server{Listener: newPipeListener(), Broker: broker.new(), HandlePrefix: "H:x"}
			if err := s.prepare(); err != nil {
				b.Fatal(err)
			}
			c := &conn{server: s}
			c.out = outbox{start: func(func()) {}}
			c.out.room.L = &c.out.mu
			c.session = s.Broker.Attach(c)
			c.out.try = func(bufs [][]byte) (n int, _ error) {
				for _, b := range bufs {
					n += len(b)
				}
				return n, nil
			}
			one := requestPacket(SubmitJobBG, []byte("function"), nil, make([]byte, 128))
			var batch []byte
			for range 50 {
				batch = append(batch, one...)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(one)))
			for i := 0; i < b.N; i += 50 {
				if _, err := c.parse(batch); err != nil {
					b.Fatal(err)
				}
				c.end()
			}
		})
	}
}
