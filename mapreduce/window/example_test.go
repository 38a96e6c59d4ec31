package window_test

import (
	"context"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/window"
)

// Sale is one sale in a shop.
type Sale struct {
	Shop  string
	Day   int
	Cents int64
}

func shop(s Sale) string { return s.Shop }
func day(s Sale) int     { return s.Day }
func cents(s Sale) int64 { return s.Cents }

var sales = memio.Of(Sale{"Oslo", 3, 70}, Sale{"Bergen", 1, 20}, Sale{"Oslo", 1, 50}, Sale{"Oslo", 2, 40})

// show runs a plan and prints its rows.
func show[T any](build func(d mapreduce.Dataset[Sale]) mapreduce.Dataset[T]) {
	d := mapreduce.Define("sales", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[T] {
		return build(mapreduce.Read(p, sales))
	}, mapreduce.Parallel(1))
	fmt.Println(d.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
}

func ExampleFirst() {
	show(func(d mapreduce.Dataset[Sale]) mapreduce.Dataset[Sale] { return window.First(d, shop, day) })
	// Output: [{Bergen 1 20} {Oslo 1 50}] <nil>
}

func ExampleLast() {
	show(func(d mapreduce.Dataset[Sale]) mapreduce.Dataset[Sale] { return window.Last(d, shop, day) })
	// Output: [{Bergen 1 20} {Oslo 3 70}] <nil>
}

// The change from one day to the next.
func ExampleLag() {
	show(func(d mapreduce.Dataset[Sale]) mapreduce.Dataset[string] {
		return window.Lag(d, shop, day, 1, func(before *Sale, s Sale) string {
			if before == nil {
				return s.Shop + " opens"
			}
			return fmt.Sprintf("%+d", s.Cents-before.Cents)
		})
	})
	// Output: [Bergen opens Oslo opens -10 +30] <nil>
}

func ExampleRunning() {
	show(func(d mapreduce.Dataset[Sale]) mapreduce.Dataset[string] {
		return window.Running(d, shop, day, agg.Sum(cents), func(s Sale, total int64) string {
			return fmt.Sprint(s.Shop, " ", s.Day, ": ", total)
		})
	})
	// Output: [Bergen 1: 20 Oslo 1: 50 Oslo 2: 90 Oslo 3: 160] <nil>
}

// Days with a sale, without a pause of more than a day.
func ExampleSessions() {
	show(func(d mapreduce.Dataset[Sale]) mapreduce.Dataset[string] {
		at := func(s Sale) time.Time { return time.Date(2026, 3, s.Day, 0, 0, 0, 0, time.UTC) }
		runs := window.Sessions(d, shop, at, 24*time.Hour, agg.Sum(cents))
		return mapreduce.Map(runs, func(s window.Session[string, int64]) string {
			return fmt.Sprint(s.Key, " ", s.Start.Day(), "-", s.End.Day(), ": ", s.Value)
		})
	})
	// Output: [Bergen 1-1: 20 Oslo 1-3: 160] <nil>
}
