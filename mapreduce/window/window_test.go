package window_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/window"
)

type click struct {
	N    int
	User string
	Time time.Time
	Page string
}

func user(c click) string  { return c.User }
func at(c click) time.Time { return c.Time }

// clicks returns n random clicks of 5 users; some have equal times.
func clicks(r *rand.Rand, n int) []click {
	all := make([]click, n)
	for i := range all {
		all[i] = click{i, fmt.Sprint("user ", r.IntN(5)), time.Unix(int64(r.IntN(3*n)), 0).UTC(), strings.Repeat("/page", r.IntN(3))}
	}
	return all
}

// groups returns the clicks of each user, in order of time and then of the input.
func groups(all []click) map[string][]click {
	by := map[string][]click{}
	for _, c := range all {
		by[c.User] = append(by[c.User], c)
	}
	for _, g := range by {
		slices.SortStableFunc(g, func(a, b click) int { return a.Time.Compare(b.Time) })
	}
	return by
}

// check runs a plan on random data in little memory, and compares the rows of each user, in order,
// with the rows of the model.
func check[U any](t *testing.T, key func(U) string, plan func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[U], model func(user string, group []click) []U) {
	t.Helper()
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 0))
		all, slots, parts := clicks(r, r.IntN(400)), 1+r.IntN(3), 1+r.IntN(4)
		rows, err := mapreduce.Define("model", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[U] {
			return plan(mapreduce.Read(p, memio.Slice(all).Cut(1+len(all)%7)), mapreduce.Parallel(parts))
		}).Collect(t.Context(), mapreduce.Local{Slots: slots, Memory: int64(slots) * 8 << 20}, mapreduce.None{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]U{}
		for _, row := range rows {
			got[key(row)] = append(got[key(row)], row)
		}
		by := groups(all)
		if len(got) != len(by) {
			t.Errorf("seed %d: rows of %d users, want %d", seed, len(got), len(by))
		}
		for u, g := range by {
			if got, want := fmt.Sprint(got[u]), fmt.Sprint(model(u, g)); got != want {
				t.Fatalf("seed %d: %s:\n got %s\nwant %s", seed, u, got, want)
			}
		}
	}
}

func TestFirstAndLast(t *testing.T) {
	check(t, user, func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[click] {
		return window.First(d, user, at, opt)
	}, func(_ string, g []click) []click { return g[:1] })
	check(t, user, func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[click] {
		return window.Last(d, user, at, opt)
	}, func(_ string, g []click) []click { return g[len(g)-1:] })
}

type step struct {
	User     string
	From, To int
}

func TestLag(t *testing.T) {
	for n := 1; n <= 3; n++ {
		f := func(before *click, c click) step {
			if before == nil {
				return step{c.User, -1, c.N}
			}
			return step{c.User, before.N, c.N}
		}
		check(t, func(s step) string { return s.User }, func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[step] {
			return window.Lag(d, user, at, n, f, opt)
		}, func(_ string, g []click) (all []step) {
			for i := range g {
				if i < n {
					all = append(all, f(nil, g[i]))
				} else {
					all = append(all, f(&g[i-n], g[i]))
				}
			}
			return all
		})
	}
}

// TestRunning uses a sum, and a list whose result shares memory with the accumulator.
func TestRunning(t *testing.T) {
	check(t, func(s step) string { return s.User }, func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[step] {
		return window.Running(d, user, at, agg.Sum(func(c click) int { return c.N }), func(c click, sum int) step { return step{c.User, c.N, sum} }, opt)
	}, func(u string, g []click) (all []step) {
		sum := 0
		for _, c := range g {
			sum += c.N
			all = append(all, step{u, c.N, sum})
		}
		return all
	})
	type best struct {
		User string
		Top  []click
	}
	score := func(c click) int { return (c.N * 7919) % 1009 }
	check(t, func(b best) string { return b.User }, func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[best] {
		return window.Running(d, user, at, agg.TopK(3, score), func(c click, top []click) best { return best{c.User, top} }, opt)
	}, func(u string, g []click) (all []best) {
		for i := range g {
			sorted := slices.Clone(g[:i+1])
			slices.SortStableFunc(sorted, func(a, b click) int { return cmp.Compare(score(b), score(a)) })
			all = append(all, best{u, sorted[:min(3, len(sorted))]})
		}
		return all
	})
}

func TestSessions(t *testing.T) {
	type session = window.Session[string, int64]
	const gap = 20 * time.Second
	check(t, func(s session) string { return s.Key }, func(d mapreduce.Dataset[click], opt mapreduce.ShuffleOption) mapreduce.Dataset[session] {
		return window.Sessions(d, user, at, gap, agg.Count[click](), opt)
	}, func(u string, g []click) (all []session) {
		for i, c := range g {
			if i == 0 || c.Time.Sub(g[i-1].Time) > gap {
				all = append(all, session{Key: u, Start: c.Time})
			}
			s := &all[len(all)-1]
			s.End = c.Time
			s.Value++
		}
		return all
	})
}

// TestRefused checks that a refusal names the operator's place in the user's code.
func TestRefused(t *testing.T) {
	count := agg.Count[click]()
	for want, build := range map[string]func(d mapreduce.Dataset[click]) mapreduce.Dataset[click]{
		"use 1 or more": func(d mapreduce.Dataset[click]) mapreduce.Dataset[click] {
			return window.Lag(d, user, at, 0, func(*click, click) click { return click{} })
		},
		"the function of Lag is nil": func(d mapreduce.Dataset[click]) mapreduce.Dataset[click] {
			return window.Lag[click, string, time.Time, click](d, user, at, 1, nil)
		},
		"a gap of 0s": func(d mapreduce.Dataset[click]) mapreduce.Dataset[click] {
			return mapreduce.Map(window.Sessions(d, user, at, 0, count), func(window.Session[string, int64]) click { return click{} })
		},
		"SortValues: its function is nil": func(d mapreduce.Dataset[click]) mapreduce.Dataset[click] {
			return window.First[click, string, int](d, user, nil)
		},
		"SortValues: type []string cannot be": func(d mapreduce.Dataset[click]) mapreduce.Dataset[click] {
			return window.Last(d, user, func(click) []string { return nil })
		},
	} {
		_, err := mapreduce.Define("refused", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[click] {
			return build(mapreduce.Read(p, memio.Of(click{})))
		}).Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "plan refused: window_test.go:") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
