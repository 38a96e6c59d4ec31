package schedule

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the machine may have no time zones

	"github.com/layshaft/layshaft/internal/cron"
)

// cluster is a shell of the core: a store that survives, a queue, and a leader that may be away. It
// may crash at each step of a fire.
type cluster struct {
	t     *testing.T
	r     *rand.Rand
	core  *Schedules // nil while no coordinator leads
	store map[string][]byte
	batch map[string][]byte // not durable yet

	lastTask uint64
	fired    []time.Time          // times of all tasks that exist, in the order of their submit
	running  map[uint64]time.Time // unended tasks, and when they end
	ended    map[uint64]Outcome   // not yet reported
	refuse   bool
}

func newCluster(t *testing.T, seed uint64) *cluster {
	return &cluster{t: t, r: rand.New(rand.NewPCG(seed, 0)), store: map[string][]byte{}, batch: map[string][]byte{}, running: map[uint64]time.Time{}, ended: map[uint64]Outcome{}}
}

// lead starts a coordinator from the store, as a restart or another leader does.
func (c *cluster) lead() {
	c.core = New(time.LoadLocation)
	clear(c.batch)
	for _, k := range slices.Sorted(maps.Keys(c.store)) {
		if err := c.core.Restore([]byte(k), c.store[k]); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, task := range c.core.Unended() {
		if _, runs := c.running[task]; !runs {
			if _, known := c.ended[task]; !known {
				c.ended[task] = OutcomeUnknown
			}
		}
	}
	c.step(Tick{})
}

// crash ends the coordinator. What is not durable is lost.
func (c *cluster) crash() { c.core = nil }

func (c *cluster) commit() {
	for k, v := range c.batch {
		if c.store[k] = v; v == nil {
			delete(c.store, k)
		}
	}
	clear(c.batch)
}

// step passes an event to the core.
func (c *cluster) step(ev Event) (err error) {
	var fires []Fire
	for _, cmd := range c.core.Step(time.Now(), ev) {
		switch cmd := cmd.(type) {
		case Write:
			c.batch[string(cmd.Key)] = cmd.Value
		case Answer:
			err = cmd.Err
		case Fire:
			fires = append(fires, cmd)
		}
	}
	if len(fires) == 0 || c.r.IntN(2) == 0 { // the batch may also travel with the next one
		c.commit()
	}
	for _, f := range fires {
		if c.core == nil {
			return err
		}
		c.fire(f)
	}
	return err
}

func (c *cluster) fire(f Fire) {
	if c.maybeCrash() {
		return
	}
	if c.refuse && c.r.IntN(3) == 0 {
		_ = c.step(Refused{f.Spec.Name, "full"})
		return
	}
	name, task := f.Spec.Name, c.lastTask+1
	for _, cmd := range c.core.Step(time.Now(), Started{name, task}) {
		c.batch[string(cmd.(Write).Key)] = cmd.(Write).Value
	}
	if c.maybeCrash() { // before the batch is durable: no task either
		return
	}
	c.commit()
	c.lastTask++
	c.fired = append(c.fired, f.Time)
	c.running[task] = time.Now().Add(time.Duration(c.r.ExpFloat64() * float64(20*time.Minute)))
	if !c.maybeCrash() && f.Replaces != 0 {
		if _, runs := c.running[f.Replaces]; runs {
			delete(c.running, f.Replaces)
			c.ended[f.Replaces] = OutcomeCancelled
		}
		c.maybeCrash()
	}
}

func (c *cluster) maybeCrash() bool {
	if c.r.IntN(50) == 0 {
		c.crash()
		return true
	}
	return false
}

// finish reports the tasks that have ended.
func (c *cluster) finish() {
	for _, task := range slices.Sorted(maps.Keys(c.running)) {
		if !c.running[task].After(time.Now()) {
			delete(c.running, task)
			c.ended[task] = OutcomeDone
		}
	}
	for _, task := range slices.Sorted(maps.Keys(c.ended)) {
		if c.core == nil {
			return
		}
		_ = c.step(Ended{task, c.ended[task]})
		delete(c.ended, task) // a crash may have lost it: the next leader asks again
		if c.core == nil {
			c.ended[task] = OutcomeDone
		}
	}
}

// run lets time pass until a moment. Leaders fail over at once, or stay away for a while; down gets
// the times without a leader.
func (c *cluster) run(until time.Time, outages int, down func(from, to time.Time)) {
	for time.Now().Before(until) {
		if c.core == nil || c.r.IntN(1000) < outages {
			c.crash()
			from := time.Now()
			if c.r.IntN(3) == 0 {
				time.Sleep(time.Duration(c.r.ExpFloat64() * float64(9*time.Hour)))
			} else {
				time.Sleep(time.Duration(c.r.IntN(int(8 * time.Second))))
			}
			c.lead()
			down(from, time.Now())
			continue
		}
		next := c.core.Next()
		for _, end := range c.running {
			if next.IsZero() || end.Before(next) {
				next = end
			}
		}
		if next.IsZero() || next.After(until) {
			next = until
		}
		time.Sleep(time.Until(next))
		c.finish()
		if c.core != nil && !c.core.Next().IsZero() && !c.core.Next().After(time.Now()) {
			c.step(Tick{})
		}
		if c.core != nil {
			c.check()
		}
	}
}

// check compares the counts with each other.
func (c *cluster) check() {
	for _, i := range c.core.All() {
		if n := i.Counts; n.Due != n.Fired+n.Skipped+n.Missed+i.Waiting {
			c.t.Fatalf("%s: %s: counts %+v and %d waiting do not add up", time.Now(), i.Name, n, i.Waiting)
		}
	}
}

// TestTenYears runs each pair of policies for ten years over failovers, outages and crashes between
// any two steps of a fire. It compares the tasks with all times of the expression.
func TestTenYears(t *testing.T) {
	years := 10
	if testing.Short() {
		years = 1
	}
	for _, c := range []struct {
		cron    string
		catchUp CatchUp
		overlap Overlap
		jitter  time.Duration
	}{
		{"0 */6 * * *", CatchUpLast, OverlapSkip, 0},
		{"0 */8 * * *", CatchUpSkip, OverlapSkip, 0},
		{"0 */6 * * *", CatchUpAll, OverlapQueue, 0},
		{"30 2 * * *", CatchUpAll, OverlapQueue, 20 * time.Minute},
		{"0 */8 * * *", CatchUpLast, OverlapReplace, 0},
		{"0 */8 * * *", CatchUpSkip, OverlapReplace, 5 * time.Minute},
		{"15 1-3 * * *", CatchUpLast, OverlapQueue, time.Hour},
		{"*/30 0-5 * * mon", CatchUpSkip, OverlapQueue, 0},
		{"0 0 29 2 *", CatchUpLast, OverlapSkip, 0},
	} {
		t.Run(fmt.Sprintf("%s/%d/%d", c.cron, c.catchUp, c.overlap), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster(t, 1)
				cl.lead()
				loc, _ := time.LoadLocation("Europe/Berlin")
				spec := Spec{Name: "n", Cron: c.cron, Zone: "Europe/Berlin", CatchUp: c.catchUp, Overlap: c.overlap, Jitter: c.jitter, Function: "f"}
				if err := cl.step(Set{Spec: spec}); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				end := start.AddDate(years, 0, 0)
				type span struct{ from, to time.Time }
				var outages []span
				cl.run(end, 3, func(from, to time.Time) { outages = append(outages, span{from, to}) })
				for cl.core == nil { // a crash may leave no leader at the end
					cl.lead()
				}
				cl.step(Tick{})

				expr, err := cron.Parse(c.cron, loc)
				if err != nil {
					t.Fatal(err)
				}
				fired := map[int64]int{}
				for i, at := range cl.fired {
					if fired[at.Unix()]++; fired[at.Unix()] > 1 {
						t.Errorf("%s fired twice", at)
					}
					if i > 0 && !at.After(cl.fired[i-1]) {
						t.Errorf("%s fired after %s", at, cl.fired[i-1])
					}
				}
				info, _ := cl.core.Get("n")
				due := 0
				for at := expr.Next(start); !at.Add(jitter(&spec, at)).After(end); at = expr.Next(at) {
					due++
					when := at.Add(jitter(&spec, at))
					// A leader may crash while it decides about a time, and leave it to the next one. Each
					// of them must or must not fire it; what all agree on is certain.
					must, may := true, false
					next := expr.Next(at)
					following := next.Add(jitter(&spec, next))
					chances := 0
					first, _ := slices.BinarySearchFunc(outages, when, func(o span, at time.Time) int { return o.to.Compare(at) })
					for i := first; i < len(outages); i++ {
						o := outages[i]
						if !when.Before(o.from) && !when.After(o.to) || chances > 0 && o.from.Equal(outages[i-1].to) {
							if chances++; when.Equal(o.from) && chances == 1 {
								may = true // before the crash
							}
							fires := o.to.Sub(when) < Late || c.catchUp == CatchUpAll || c.catchUp == CatchUpLast && following.After(o.to)
							must, may = must && fires, may || fires
						} else {
							break
						}
					}
					if n := fired[at.Unix()]; n > 0 && !may && chances > 0 {
						t.Errorf("%s fired, but it was missed", at)
					} else if n == 0 && must && c.overlap == OverlapQueue && info.Waiting == 0 {
						t.Errorf("%s has not fired", at)
					}
					delete(fired, at.Unix())
				}
				if len(fired) > 0 {
					t.Errorf("times fired that the expression does not have: %v", fired)
				}
				if info.Counts.Due != due || info.Counts.Fired != len(cl.fired) {
					t.Errorf("counts are %+v, want %d due and %d fired", info.Counts, due, len(cl.fired))
				}
				if c.overlap == OverlapQueue && info.Counts.Skipped > 0 {
					t.Errorf("%d times were skipped in a queue", info.Counts.Skipped)
				}
				t.Logf("%d times due: %d fired, %d skipped, %d missed; %d leaders", info.Counts.Due, info.Counts.Fired, info.Counts.Skipped, info.Counts.Missed, len(outages)+1)
			})
		})
	}
}

// TestSeeds runs random schedules over random changes by clients, refusals of the queue and
// crashes, and checks that nothing fires twice and all counts add up.
func TestSeeds(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, seed)
				c.refuse = true
				c.lead()
				names := []string{"a", "b", "c"}
				defined := map[string]bool{}
				for range 60 {
					if c.core == nil {
						c.lead()
						continue
					}
					name := names[c.r.IntN(len(names))]
					var err error
					switch c.r.IntN(8) {
					case 0, 1:
						x := Spec{Name: name, Cron: []string{"*/5 * * * *", "0 * * * *", "30 2 * * *"}[c.r.IntN(3)], Zone: "America/New_York", Function: name,
							Overlap: Overlap(c.r.IntN(3)), CatchUp: CatchUp(c.r.IntN(2)), Jitter: time.Duration(c.r.IntN(2)) * time.Minute}
						if err = c.step(Set{Spec: x}); err == nil {
							defined[name] = true
						}
					case 2:
						_ = c.step(Pause{name, c.r.IntN(2) == 0})
					case 3:
						_ = c.step(RunNow{name})
					case 4:
						if c.r.IntN(4) == 0 {
							_ = c.step(Remove{name})
							delete(defined, name)
						}
					}
					if err != nil {
						t.Fatal(err)
					}
					c.run(time.Now().Add(time.Duration(c.r.IntN(int(3*time.Hour)))), 20, func(_, _ time.Time) {})
				}
				for c.core == nil {
					c.lead()
				}
				if got := len(c.core.All()); got > len(names) {
					t.Errorf("%d schedules", got)
				}
			})
		})
	}
}
