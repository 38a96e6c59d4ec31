package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// together counts how many calls run at once.
type together struct{ now, most atomic.Int32 }

func (x *together) in() {
	n := x.now.Add(1)
	for m := x.most.Load(); n > m && !x.most.CompareAndSwap(m, n); m = x.most.Load() {
	}
}

func (x *together) out() { x.now.Add(-1) }

// A stage with a budget never runs more attempts than the budget allows, even if some of them fail.
// Other stages run beside it.
func TestNeeds(t *testing.T) {
	var both sync.WaitGroup // two at once there must be
	both.Add(2)
	var at together
	var failed atomic.Bool
	var seen atomic.Int32
	rows := run(t, mapreduce.Local{Slots: 4, Budgets: map[string]int{"pg": 4}}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		all := mapreduce.Read(p, memio.Generate(12, func(i int64) int64 { return i }).Cut(12))
		return mapreduce.TryMap(all, func(_ context.Context, i int64) (int64, error) {
			at.in()
			defer at.out()
			if seen.Add(1) <= 2 {
				both.Done()
			}
			both.Wait()
			if i == 5 && failed.CompareAndSwap(false, true) {
				return 0, errors.New("no connection")
			}
			return i, nil
		}, mapreduce.Needs("pg", 1), mapreduce.Needs("pg", 1), mapreduce.Needs("unlimited", 7))
	})
	if len(rows) != 12 || at.most.Load() != 2 {
		t.Errorf("%d rows, %d attempts at once; want 12 rows and 2 of 4 in pairs", len(rows), at.most.Load())
	}
}

// limited is a source or sink with a budget of its own.
type limited struct {
	connector.Source[int64]
	name    string
	n, size int
}

func (l limited) Budget() (string, int, int) { return l.name, l.n, l.size }

// A source with a budget declares its size: no more attempts run at once, together with
// attempts of another source of the same budget. A size that is set counts instead.
func TestDeclaredBudget(t *testing.T) {
	for _, x := range []struct {
		set  map[string]int
		most int32
	}{{nil, 2}, {map[string]int{"pg": 1}, 1}} {
		var at together
		read := func(p *mapreduce.Plan, size int) mapreduce.Dataset[int64] {
			all := mapreduce.Read(p, limited{memio.Generate(9, func(i int64) int64 { return i }).Cut(9), "pg", 1, size})
			return mapreduce.Map(all, func(i int64) int64 {
				at.in()
				defer at.out()
				runtime.Gosched()
				return i
			})
		}
		rows := run(t, mapreduce.Local{Slots: 4, Budgets: x.set}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Union(read(p, 2), read(p, 3))
		})
		if len(rows) != 18 || at.most.Load() > x.most {
			t.Errorf("%d rows, %d attempts at once; want 18 rows and at most %d", len(rows), at.most.Load(), x.most)
		}
	}
	one := mapreduce.Define("one", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, limited{memio.Of[int64](1), "pg", 1, 2})
	})
	var out bytes.Buffer
	_, err := one.Collect(context.Background(), mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: &out}}, none{})
	if err != nil || !strings.Contains(out.String(), "stage 0: each attempt needs 1 of budget pg, which has 2 until somebody sets it\n") {
		t.Errorf("%v, explained:\n%s", err, out.String())
	}
	bad := mapreduce.Define("bad", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, limited{memio.Of[int64](1), "pg", 3, 2})
	})
	_, err = bad.Collect(context.Background(), mapreduce.Local{}, none{})
	checkError(t, err, "needs 3 of budget pg, which has 2")
}

// A need above the budget is an error before the run, and -explain prints the needs.
func TestNeedsAreShown(t *testing.T) {
	load := mapreduce.Define("load", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] {
		return mapreduce.Map(mapreduce.Read(p, memio.Of(1)), func(i int) int { return i }, mapreduce.Needs("pg", 2), mapreduce.Needs("es", 1))
	})
	_, err := load.Collect(context.Background(), mapreduce.Local{Budgets: map[string]int{"pg": 1}}, none{})
	checkError(t, err, "plan load: stage", "each attempt needs 2 of budget pg, which has 1", "-budget")
	var out bytes.Buffer
	_, err = load.Collect(context.Background(), mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: &out}}, none{})
	if err != nil || !strings.Contains(out.String(), "stage 0: each attempt needs 1 of budget es\nstage 0: each attempt needs 2 of budget pg\n") {
		t.Errorf("%v, explained:\n%s", err, out.String())
	}
}

func TestBudgetFlag(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	mapreduce.Flags(fs)
	err := fs.Parse([]string{"-budget", "pg=8,es=2", "-budget", "es=4"})
	if got := fs.Lookup("budget").Value.String(); err != nil || got != "es=4,pg=8" {
		t.Errorf("budgets %s, %v", got, err)
	}
	for _, bad := range []string{"pg", "pg=x", "=1", "pg=-1"} {
		if err := fs.Parse([]string{"-budget", bad}); err == nil || !strings.Contains(err.Error(), "NAME=N") {
			t.Errorf("-budget %s: %v", bad, err)
		}
	}
}
