package a

import (
	"context"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/loop"
)

type row struct {
	name string
	n    int
}

type params struct{ Top int }

var (
	top   = flag.Int("top", 10, "")
	limit int
	seen  = map[string]bool{}
	total int
)

var options struct {
	level int
	quiet bool
}

func init() {
	flag.IntVar(&limit, "most", 1, "")
	flag.IntVar(&options.level, "level", 1, "")
}

type tally struct{ n int }

func (t *tally) count(s string) int {
	t.n++ // want `changes the variable t outside`
	return t.n
}

func (t tally) size(s string) int {
	t.n++
	return t.n
}

var _ = mapreduce.Define("report", func(p *mapreduce.Plan, in params) mapreduce.Dataset[int] {
	counter := mapreduce.NewCounter(p, "rows")
	rows := mapreduce.Read[row](p, nil)
	rows = rows.Filter(func(r row) bool { return r.n > *top })  // want `reads the flag top, whose value does not reach workers`
	rows = rows.Filter(func(r row) bool { return r.n > limit }) // want `reads the flag most`
	rows = rows.Filter(func(r row) bool { return r.n > in.Top })
	rows = rows.Filter(func(r row) bool {
		counter.Add(1)
		total++             // want `changes the variable total outside of it`
		seen[r.name] = true // want `changes the variable seen`
		local := map[string]int{}
		local[r.name]++
		r.n = 3
		return true
	})
	sum := 0
	names := mapreduce.Map(rows, func(r row) string {
		sum += r.n // want `changes the variable sum`
		return r.name
	})
	for name := range maps.Keys(seen) { // want `in a loop over a map, whose order`
		names = mapreduce.Union(names, mapreduce.Map(rows, func(r row) string { return name }))
	}
	c := &tally{}
	_ = mapreduce.Map(names, c.count)
	_ = mapreduce.Map(names, tally{}.size)
	_ = mapreduce.Map(names, func(s string) bool { return options.quiet })
	_ = mapreduce.Map(names, func(s string) int { return options.level }) // want `reads the flag level`
	var last rune
	_ = last
	_ = mapreduce.Map(names, func(s string) string {
		for _, last = range s { // want `changes the variable last`
		}
		return s
	})
	_ = mapreduce.Map(names, old)
	_ = mapreduce.Map(names, withTime)
	keep := func(s string) bool { return len(os.Args) > 1 } // want `reads os.Args`
	_ = names.Filter(keep)
	_ = mapreduce.MapTask(names, func(emit func(int)) func(string) error {
		n := 0
		return func(s string) error {
			n++
			emit(n)
			return nil
		}
	})
	_ = mapreduce.Map(names, func(s string) int { return rand.IntN(10) }) // want `calls math/rand/v2.IntN`
	_ = mapreduce.Map(names, func(s string) int { return rand.New(rand.NewPCG(1, uint64(len(s)))).IntN(10) })
	_ = mapreduce.Map(names, func(s string) string { return os.Getenv("HOME") }) // want `calls os.Getenv; workers have another environment`
	_ = mapreduce.Map(names, func(s string) string { return os.Getenv("SHOP") })
	_ = mapreduce.Map(names, func(s string) time.Time { return time.Now() }) //layshaft:allow the time of the copy
	_ = mapreduce.Map(names, func(s string) time.Time { return time.Now() }) // want `calls time.Now`
	//layshaft:allow the time of the copy
	_ = mapreduce.Map(names, func(s string) time.Time { return time.Now() })
	_ = mapreduce.Map(names, func(s string) time.Time { return time.Now() }) // want `calls time.Now`
	for name := range map[string]int{"a": 1} {                               // want `in a loop over a map, whose order`
		names = mapreduce.Union(names, mapreduce.Map(rows, func(r row) string { return name }))
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		names = mapreduce.Union(names, mapreduce.Map(rows, func(r row) string { return name }))
	}
	return mapreduce.Aggregate(names, mapreduce.Agg[string, int, int]{Add: func(a *int, s string) {
		*a += len(s)
		total += *a // want `changes the variable total`
	}})
}, mapreduce.Env("SHOP"))

func old(s string) time.Duration { return age(s) }

func age(string) time.Duration { return time.Since(time.Time{}) } // want `calls time.Since`

func withTime(s string) time.Time { return time.Unix(int64(len(s)), 0) }

// What runs in the client may do all of this.
func main() {
	flag.Parse()
	begun := time.Now()
	rounds := 0
	loop.Define(func(p *mapreduce.Plan, in params) mapreduce.Dataset[int] {
		return mapreduce.Map(mapreduce.Read[row](p, nil), func(row) int { return limit }) // want `reads the flag most`
	}, func(int) bool { rounds++; return time.Since(begun) > time.Minute })
	_ = mapreduce.WithFiles(context.Background(), func(context.Context) error { total = *top; return nil })
}
