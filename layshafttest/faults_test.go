package layshafttest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// slow is a job whose maps take 5 s and whose reduces take 5 s, on 3 workers with 2 slots.
var slow = numbers{N: 300, Splits: 6, Groups: 6, Map: 100 * time.Millisecond, Reduce: 5 * time.Second}

// A fault strikes a worker while a job runs.
func TestWorkerFaults(t *testing.T) {
	inMap := func(c *Cluster) bool { return len(c.Running()) == 6 }
	inReduce := func(c *Cluster) bool {
		return slices.ContainsFunc(c.Running(), func(a Attempt) bool { return a.Task[0] == '1' })
	}
	tests := []struct {
		name   string
		when   func(c *Cluster) bool
		strike func(c *Cluster, w *Worker)
		again  int           // tasks of the map stage that may run a second time
		within time.Duration // how long the job may take longer than the 10 s of an undisturbed one
	}{
		{"killed in map", inMap, func(_ *Cluster, w *Worker) { w.Kill() }, 2, 12 * time.Second},
		{"stopped in map", inMap, func(_ *Cluster, w *Worker) { w.Stop() }, 2, 12 * time.Second},
		{"drained in map", inMap, func(_ *Cluster, w *Worker) { w.Drain() }, 0, 6 * time.Second},
		{"silent in map", inMap, func(_ *Cluster, w *Worker) { w.Silence() }, 2, LeaseTTL + 6*time.Second},
		{"restarted in map", inMap, func(_ *Cluster, w *Worker) { w.Kill(); w.Restart() }, 2, 6 * time.Second},
		{"killed in reduce", inReduce, func(_ *Cluster, w *Worker) { w.Kill() }, 2, 12 * time.Second},
		{"drained in reduce", inReduce, func(_ *Cluster, w *Worker) { w.Drain() }, 0, 6 * time.Second},
		{"restarted in reduce", inReduce, func(_ *Cluster, w *Worker) { w.Kill(); w.Restart() }, 2, 12 * time.Second},
		{"silent in reduce", inReduce, func(_ *Cluster, w *Worker) { w.Silence() }, 2, LeaseTTL + 12*time.Second},
		{"cut off from the coordinator for 5 s", inMap, func(c *Cluster, w *Worker) {
			c.Cut(w, c.Coordinator())
			time.Sleep(5 * time.Second)
			c.Heal()
		}, 0, 3 * time.Second},
		{"cut off from the coordinator for 15 s", inMap, func(c *Cluster, w *Worker) {
			c.Cut(w, c.Coordinator())
			time.Sleep(15 * time.Second)
			c.Heal()
		}, 2, LeaseTTL + 8*time.Second},
		{"cut off from the coordinator for 5 min", inMap, func(c *Cluster, w *Worker) {
			c.Cut(w, c.Coordinator())
			time.Sleep(5 * time.Minute)
			c.Heal()
		}, 2, LeaseTTL + 8*time.Second},
		{"not heard for 15 s", inMap, func(c *Cluster, w *Worker) {
			c.CutOneWay(w, c.Coordinator())
			time.Sleep(15 * time.Second)
			c.Heal()
		}, 2, LeaseTTL + 8*time.Second},
		{"hears nothing for 15 s", inMap, func(c *Cluster, w *Worker) {
			c.CutOneWay(c.Coordinator(), w)
			time.Sleep(15 * time.Second)
			c.Heal()
		}, 2, LeaseTTL + 20*time.Second},
		{"gossip alone cut", inMap, func(c *Cluster, w *Worker) { c.CutGossip(w) }, 0, 100 * time.Millisecond},
		{"gossip alone cut for 5 s", inMap, cutGossip(5 * time.Second), 0, 100 * time.Millisecond},
		{"gossip alone cut for 15 s", inMap, cutGossip(15 * time.Second), 0, 100 * time.Millisecond},
		{"gossip alone cut for 5 min", inMap, cutGossip(5 * time.Minute), 0, 100 * time.Millisecond},
		{"gossip of the coordinator cut", inMap, func(c *Cluster, _ *Worker) { c.CutGossip(c.Coordinator()) }, 0, 100 * time.Millisecond},
		{"cut off from another worker for 5 s", inMap, cutPeer(5 * time.Second), 6, time.Minute},
		{"cut off from another worker for 15 s", inMap, cutPeer(15 * time.Second), 6, time.Minute},
		{"cut off from another worker for 5 min", inMap, cutPeer(5 * time.Minute), 12, time.Minute}, // what is made again may lie where it cannot be read again
		{"does not hear another worker for 15 s", inMap, func(c *Cluster, w *Worker) {
			c.CutOneWay(c.Worker(2), w)
			time.Sleep(15 * time.Second)
			c.Heal()
		}, 6, time.Minute},
		{"is not heard by another worker for 15 s", inMap, func(c *Cluster, w *Worker) {
			c.CutOneWay(w, c.Worker(2))
			time.Sleep(15 * time.Second)
			c.Heal()
		}, 6, time.Minute},
		{"cut off from the client for 15 s", inMap, func(c *Cluster, w *Worker) {
			c.Cut(w, c.Client())
			time.Sleep(15 * time.Second)
			c.Heal()
		}, 0, 20 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && strings.Contains(tt.name, " for ") {
				t.Skip("cuts of a stated length; the faults without one run")
			}
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &history{t: t}
				c := Start(t, 3, h.option())
				begun := time.Now()
				_, wait := begin(t, c, groups, slow)
				c.WaitFor("the job to be there", func() bool { return tt.when(c) })
				time.Sleep(2 * time.Second)
				struck := make(chan bool)
				go func() {
					tt.strike(c, c.Worker(1))
					close(struck)
				}()
				slow.check(t, wait())
				if took := time.Since(begun); took > 10*time.Second+tt.within {
					t.Errorf("took %v, want at most %v", took, 10*time.Second+tt.within)
				}
				if n := len(c.stage(0)) - slow.Splits; n > tt.again {
					t.Errorf("%d maps ran again, want at most %d", n, tt.again)
				}
				<-struck
			})
		})
	}
}

func cutGossip(length time.Duration) func(c *Cluster, w *Worker) {
	return func(c *Cluster, w *Worker) {
		c.CutGossip(w)
		time.Sleep(length)
		c.Heal()
	}
}

func cutPeer(length time.Duration) func(c *Cluster, w *Worker) {
	return func(c *Cluster, w *Worker) {
		c.Cut(w, c.Worker(2))
		time.Sleep(length)
		c.Heal()
	}
}

// Two workers that cannot reach each other both reach the coordinator, for good: the job ends all
// the same.
func TestWorkersNeverMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 2)
		c.Cut(c.Worker(0), c.Worker(1))
		begun := time.Now()
		_, wait := begin(t, c, sums, slow)
		slow.check(t, wait())
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// The attempts of a lost worker run elsewhere within a second when its connection breaks.
func TestLostAttemptsRunSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3)
		in := slow
		in.Splits = 4
		_, wait := begin(t, c, sums, in)
		c.WaitFor("the maps", func() bool { return len(c.Running()) == 4 })
		var was Attempt
		for _, a := range c.Running() {
			if a.Worker == 1 {
				was = a
			}
		}
		killed := time.Now()
		c.Worker(1).Kill()
		in.check(t, wait())
		all := c.Attempts(was.Task)
		if len(all) != 2 || all[1].Begun.Sub(killed) > time.Second || all[1].Worker == 1 {
			t.Errorf("attempts %+v", all)
		}
	})
}

// A worker that is killed when an attempt of its is committed has had its commit: no attempt is
// committed twice, and what it held is made again.
func TestKilledInCommit(t *testing.T) {
	for _, stage := range []int64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			var c *Cluster
			var once atomic.Bool
			h := &history{t: t}
			h.seen = func(e event) {
				if a := e.GetCommitted(); a != nil && a.GetAttempt().GetTask().GetStage() == stage && once.CompareAndSwap(false, true) {
					for i := range 3 {
						if w := c.Worker(i); w.Name() == a.GetWorker() {
							w.Kill()
						}
					}
				}
			}
			c = Start(t, 3, h.option())
			rows, err := groups.Collect(t.Context(), c.Target(), slow)
			slow.check(t, &result{rows, int64(slow.N / 2), err})
			if n := h.count("Committed"); !once.Load() || n <= slow.Splits+slow.Groups {
				t.Errorf("killed %v, %d commits", once.Load(), n)
			}
		})
	}
}

// A worker that returns after its lease finds its attempts taken: what it reports counts for
// nothing.
func TestZombie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{t: t}
		c := Start(t, 3, h.option())
		_, wait := begin(t, c, groups, slow)
		c.WaitFor("the maps", func() bool { return len(c.Running()) == 6 })
		c.Worker(1).Silence()
		c.WaitFor("the maps to be done elsewhere", func() bool { return h.count("Committed") == 6 })
		c.Worker(1).Resume() // its attempts have ended long ago, and it says so
		slow.check(t, wait())
		if n := h.count("Committed"); n != 12 {
			t.Errorf("%d commits, want 12", n)
		}
	})
}

// An attempt that takes much longer than the others of its stage is raced by another.
func TestStraggler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3)
		var stuck atomic.Bool
		d := mapreduce.Define("straggler", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int64] {
			all := mapreduce.Read(p, memio.Generate(12, func(i int64) int64 { return i }).Cut(12))
			return mapreduce.Map(all, func(i int64) int64 {
				time.Sleep(10 * time.Second)
				if i == 11 && stuck.CompareAndSwap(false, true) {
					time.Sleep(10 * time.Minute)
				}
				return i
			})
		})
		begun := time.Now()
		rows, err := d.Collect(t.Context(), c.Target(), mapreduce.None{})
		if took := time.Since(begun); err != nil || len(rows) != 12 || took > time.Minute || len(c.Attempts("0/11")) != 2 {
			t.Errorf("%v, %v after %v, attempts %+v", rows, err, took, c.Attempts("0/11"))
		}
		time.Sleep(10 * time.Minute) // the slow one ends
	})
}

// The coordinator is killed before and after it writes each kind of event, and continues where it
// was.
func TestCoordinatorKilled(t *testing.T) {
	for i, kind := range []string{"Submitted", "Grouped", "Committed", "Ended", "JobReleased", "JobDropped", "OutputMoved", "OutputLost", "Epoch"} {
		for what, v := range map[string]verdict{"before": lose, "after": killNow} {
			t.Run(what+" "+kind, func(t *testing.T) {
				if testing.Short() && (what == "before") != (i%2 == 0) {
					t.Skip("the other side of this event is tested")
				}
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var c *Cluster
					var hits atomic.Int32
					h := &history{t: t}
					h.judge = func(kinds []string) verdict {
						if slices.Contains(kinds, kind) {
							if n := hits.Add(1); n == 1 || n == 3 {
								go func() {
									time.Sleep(time.Second)
									c.Coordinator().Restart()
								}()
								return v
							}
						}
						return keep
					}
					c = Start(t, 3, h.option(), Policy(coordinator.Policy{Retain: 10 * time.Second}))
					d, in := groups, slow
					if kind == "Grouped" {
						d, in.Splits = sums, 24
					}
					_, wait := begin(t, c, d, in)
					switch kind {
					case "OutputMoved":
						c.WaitFor("a commit", func() bool { return h.count("Committed") > 2 })
						go c.Worker(1).Drain()
					case "OutputLost":
						c.Cut(c.Worker(0), c.Worker(1))
						c.Cut(c.Worker(0), c.Worker(2))
						time.AfterFunc(20*time.Second, func() { c.Heal() })
					case "Epoch":
						time.Sleep(time.Second)
						c.Coordinator().Restart()
					}
					in.check(t, wait())
					time.Sleep(15 * time.Second)
					switch {
					case hits.Load() == 0:
						t.Errorf("no %s was written: %v", kind, h.kinds)
					case kind != "OutputLost" && h.again > 0:
						t.Errorf("%d committed tasks ran again", h.again)
					}
				})
			})
		}
	}
}

// Coordinator and worker are killed at the same moment.
func TestBothKilled(t *testing.T) {
	for _, after := range []time.Duration{2 * time.Second, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := &history{t: t}
			c := Start(t, 3, h.option())
			_, wait := begin(t, c, groups, slow)
			time.Sleep(after)
			c.Coordinator().Kill()
			c.Worker(1).Kill()
			time.Sleep(time.Second)
			c.Coordinator().Restart()
			time.Sleep(20 * time.Second)
			c.Worker(1).Restart()
			slow.check(t, wait())
		})
	}
}

// A coordinator that is away for minutes finds what the workers did meanwhile.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{t: t}
		c := Start(t, 3, h.option())
		_, wait := begin(t, c, groups, slow)
		time.Sleep(2 * time.Second)
		c.Coordinator().Kill()
		time.Sleep(90 * time.Second)
		c.Coordinator().Restart()
		slow.check(t, wait())
		if n := len(c.stage(0)); n != slow.Splits || h.again > 0 {
			t.Errorf("%d attempts at %d maps, %d committed again", n, slow.Splits, h.again)
		}
	})
}

// Every process is started again while jobs come one after the other; none is lost.
func TestRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{t: t}
		c := Start(t, 3, h.option())
		done := make(chan bool)
		go func() {
			defer close(done)
			for range 2 {
				for i := range 3 {
					time.Sleep(3 * time.Second)
					c.Worker(i).Drain()
					c.Worker(i).Restart()
				}
				time.Sleep(3 * time.Second)
				c.Coordinator().Restart()
			}
		}()
		jobs := 0
		for running := true; running; jobs++ {
			select {
			case <-done:
				running = false
			default:
			}
			in := numbers{N: 60 + jobs, Splits: 6, Groups: 4, Map: 100 * time.Millisecond, Reduce: 500 * time.Millisecond}
			work(t, c, groups, in)
		}
		if jobs < 10 {
			t.Errorf("only %d jobs", jobs)
		}
		if h.again > 0 {
			t.Errorf("%d committed tasks ran again", h.again)
		}
	})
}

// A coordinator that works on an old copy of the data is refused by workers that have obeyed a
// later one.
func TestOldCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3)
		work(t, c, sums, numbers{N: 1, Splits: 1, Groups: 1})
		c.Coordinator().Stop()
		old := c.dir + "/old"
		copyDir(t, c.dir+"/coordinator", old)
		c.Coordinator().Restart()
		c.WaitFor("all workers", func() bool { return len(c.Coordinator().Workers()) == 3 })
		c.Coordinator().Restart()
		c.WaitFor("all workers", func() bool { return len(c.Coordinator().Workers()) == 3 })
		c.Coordinator().Stop()
		swap(t, c.dir+"/coordinator", old)
		c.Coordinator().Restart()
		time.Sleep(time.Minute)
		if ws := c.Coordinator().Workers(); len(ws) > 0 {
			t.Errorf("workers obey an old coordinator: %v", ws)
		}
		c.Coordinator().Stop()
		swap(t, c.dir+"/coordinator", old)
		c.Coordinator().Restart()
		work(t, c, sums, slow)
		if !strings.Contains(c.said(), "epoch") {
			t.Error("nobody says why")
		}
	})
}

// said returns the end of the log.
func (c *Cluster) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines.String()
}

// Rows of a job that is done are made again when their worker is lost for good before they were
// read, by its client or another that comes later: what it held runs again, once, and nothing else.
// A worker that comes back in time brings them along.
func TestRowsLostAfterTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		strike func(c *Cluster)
		late   bool  // another client reads them
		lost   []int // workers whose outputs are made again
		within time.Duration
	}{
		{"killed", func(c *Cluster) { c.Worker(1).Kill() }, false, []int{1}, 20 * time.Second},
		{"killed, a late client", func(c *Cluster) { c.Worker(1).Kill() }, true, []int{1}, 20 * time.Second},
		{"killed, and the coordinator", func(c *Cluster) { c.Coordinator().Kill(); c.Worker(1).Kill(); c.Coordinator().Restart() }, true, []int{1}, 40 * time.Second},
		{"two killed", func(c *Cluster) { c.Worker(1).Kill(); c.Worker(2).Kill() }, false, []int{1, 2}, 30 * time.Second},
		{"restarted", func(c *Cluster) { c.Worker(1).Kill(); c.Worker(1).Restart() }, false, nil, 6 * time.Second},
		{"silent", func(c *Cluster) { c.Worker(1).Silence() }, false, []int{1}, LeaseTTL + 40*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &history{t: t}
				c := Start(t, 3, h.option())
				in := numbers{N: 300, Splits: 6, Groups: 6, Map: 10 * time.Millisecond, Reduce: time.Second}
				j, err := groups.Start(t.Context(), c.Target(), in)
				if err != nil {
					t.Fatal(err)
				}
				if err := j.Wait(); err != nil {
					t.Fatal(err)
				}
				want := 0
				for _, a := range c.stage(1) {
					if slices.Contains(tt.lost, a.Worker) {
						want++
					}
				}
				if want > 0 {
					want += in.Splits // which were let go at the end
				}
				before := len(c.Attempts(""))
				tt.strike(c)
				begun := time.Now()
				if tt.late {
					work(t, c, groups, in)
				} else {
					r := &result{odd: j.Counters()["odd"]}
					for row, err := range mapreduce.Rows[sum](j, "") {
						if r.err = err; err == nil {
							r.rows = append(r.rows, row)
						}
					}
					in.check(t, r)
				}
				if took := time.Since(begun); took > tt.within {
					t.Errorf("the rows took %v, want at most %v", took, tt.within)
				}
				if n := len(c.Attempts("")) - before; n != want {
					t.Errorf("%d tasks ran again, want %d: those that were lost, and what they read", n, want)
				}
				if n := h.count("Reopened"); n != min(1, len(tt.lost)) {
					t.Errorf("the job was opened again %d times", n)
				}
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A job whose client is away for longer than its lease ends, and says why; a detached one
// continues, as does one whose client comes back.
func TestClientAway(t *testing.T) {
	for _, tt := range []struct {
		name     string
		away     time.Duration
		detached bool
		ends     bool
	}{
		{"for 30 s", 30 * time.Second, false, false},
		{"for good", time.Hour, false, true},
		{"for good, detached", time.Hour, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := Start(t, 2)
				in := numbers{N: 400, Splits: 4, Groups: 2, Map: 2 * time.Second} // 200 s
				target := c.Target()
				target.Detach = tt.detached
				j, err := groups.Start(t.Context(), target, in)
				if err != nil && !errors.Is(err, mapreduce.ErrDetached) {
					t.Fatal(err)
				}
				c.WaitFor("the maps", func() bool { return len(c.Running()) == 4 })
				id := c.Running()[0].Job
				c.Cut(c.Client(), c.Coordinator())
				begun := time.Now()
				if tt.ends {
					c.WaitFor("the end of the job", func() bool { st, _ := c.Job(id); return st.Outcome != report.JobRunning })
					st, _ := c.Job(id)
					if st.Outcome != report.JobCancelled || !strings.Contains(st.Failure.Message, "client has been away for 1m0s") {
						t.Errorf("the job is %v: %v", st.Outcome, st.Failure)
					}
					if took := time.Since(begun); took < time.Minute || took > 2*time.Minute {
						t.Errorf("it ended after %v", took)
					}
					c.Heal()
					if err := j.Wait(); err == nil || !strings.Contains(err.Error(), "client has been away") {
						t.Errorf("the client hears %v", err)
					}
				} else {
					if tt.away < time.Minute {
						time.Sleep(tt.away)
						c.Heal()
					}
					c.WaitFor("the end of the job", func() bool { st, _ := c.Job(id); return st.Outcome != report.JobRunning })
					if st, _ := c.Job(id); st.Outcome != report.JobDone {
						t.Errorf("the job is %v: %v", st.Outcome, st.Failure)
					}
				}
				if j != nil {
					c.Heal()
					if err := j.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// written writes sums to a dataset.
var written = mapreduce.Define("written", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[mapreduce.None] {
	rows := mapreduce.AggregateBy(in.source(p), in.key, agg.Sum(func(x padded) int64 { return x.N }))
	rows.WriteTo(jsonio.Write[sum]("dataset://out/sums"))
	return mapreduce.Nothing(p)
})

// detach submits a job that writes sums, and waits until it is done. It returns what the client
// said.
func (in numbers) detach(t *testing.T, c *Cluster) string {
	t.Helper()
	var said strings.Builder
	target := c.Target()
	target.Detach, target.Err = true, &said
	if _, err := written.Start(t.Context(), target, in); !errors.Is(err, mapreduce.ErrDetached) {
		t.Fatal(err)
	}
	id := strings.Fields(said.String()[strings.Index(said.String(), "job written-"):])[1]
	c.WaitFor("the end of the job", func() bool { st, _ := c.Job(id); return st.Outcome == report.JobDone })
	return said.String()
}

// A job whose output was removed, or belongs to another job by now, runs anew when its command is
// given again; else that finds the job.
func TestOutputGone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 1, Dataset("out", func(int) string { return dir + ":rw" }))
		in, other := numbers{N: 40, Splits: 4, Groups: 2}, numbers{N: 41, Splits: 4, Groups: 2}
		check := func(what string, in numbers, anew bool) {
			t.Helper()
			before := len(c.Attempts(""))
			said := in.detach(t, c)
			if ran := len(c.Attempts("")) > before; ran != anew {
				t.Errorf("%s: it ran: %v, want %v: %s", what, ran, anew, said)
			}
			if parts, err := filepath.Glob(filepath.Join(dir, "sums", "part-*")); err != nil || len(parts) == 0 {
				t.Errorf("%s: there are no files, %v: %s", what, err, said)
			}
		}
		check("first", in, true)
		check("second", in, false)
		if err := os.RemoveAll(filepath.Join(dir, "sums")); err != nil {
			t.Fatal(err)
		}
		check("after its output was removed", in, true)
		check("another", other, true)
		check("after its output was replaced", in, true)
		check("last", in, false)
	})
}

// Of a job that is done nobody keeps what no client will read, so that even the only worker can
// leave, coordinator or not. It brings rows along when it comes back.
func TestNothingStays(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rows, dead bool // that nobody reads; the coordinator is, by then
		limit      time.Duration
	}{
		{"written", false, false, 10 * time.Second},
		{"written, no coordinator", false, true, 10 * time.Second},
		{"rows", true, false, 10 * time.Second},
		{"rows, no coordinator", true, true, 40 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				c := Start(t, 1, Dataset("out", func(int) string { return dir + ":rw" }))
				in := numbers{N: 400, Splits: 4, Groups: 2, Size: 1000}
				if tt.rows {
					target := c.Target()
					target.Detach = true
					if _, err := groups.Start(t.Context(), target, in); !errors.Is(err, mapreduce.ErrDetached) {
						t.Fatal(err)
					}
					c.WaitFor("the end of the job", func() bool {
						return slices.ContainsFunc(c.Attempts(""), func(a Attempt) bool {
							st, _ := c.Job(a.Job)
							return st.Outcome == report.JobDone
						})
					})
				} else {
					in.detach(t, c)
				}
				if tt.dead {
					time.Sleep(time.Second) // what is let go goes
					c.Coordinator().Kill()
				}
				begun := time.Now()
				c.Worker(0).Drain()
				if took := time.Since(begun); took > tt.limit {
					t.Errorf("it left after %v, want at most %v", took, tt.limit)
				}
				if tt.rows { // they come back with it
					before := len(c.Attempts(""))
					if tt.dead {
						c.Coordinator().Restart()
					}
					c.Worker(0).Restart()
					work(t, c, groups, in)
					if n := len(c.Attempts("")) - before; n != 0 {
						t.Errorf("%d attempts made the rows again", n)
					}
				}
			})
		})
	}
}
