package main

import (
	"context"
	"flag"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
)

var (
	nightProducts = flag.Int64("products", 20_000, "number of products of BenchmarkNight")
	nightSlots    = flag.Int("slots", 0, "slots of the pipelines of BenchmarkNight; 0 means one for each processor")
)

// joined is the first half of Catalog: clean products, written as JSON.
var joined = mapreduce.Define("joined", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	mapreduce.TryMap(fromDatabase(p, in), cleaner(p, in.Rates)).WriteTo(jsonio.Write[Product](in.Out))
	return mapreduce.Nothing(p)
}, mapreduce.MaxBadShare(0.02))

// BenchmarkNight makes documents from the tables in three ways in turn: by the joins of a pipeline,
// by the whole pipeline of the night, and by the one SQL statement of the reference, which computes
// no price level and throws the documents away. It reports how many connections the pipelines have
// at once, and how long their longest statement takes.
func BenchmarkNight(b *testing.B) {
	s := newShop(b, *nightProducts, "", nil)
	s.Exec(b, "VACUUM ANALYZE")
	s.Exec(b, "CHECKPOINT")
	documents := s.in
	documents.Out = filepath.Join(b.TempDir(), "documents")
	var joins, night, statement time.Duration
	var most int
	var longest float64
	timed := func(total *time.Duration, run func() error) {
		begun := time.Now()
		if err := run(); err != nil {
			b.Fatal(err)
		}
		*total += time.Since(begun)
	}
	for b.Loop() {
		stop := watchDatabase(b, s.DB, &most, &longest)
		timed(&joins, func() error {
			_, err := joined.Collect(b.Context(), mapreduce.Local{Slots: *nightSlots}, documents)
			return err
		})
		timed(&night, func() error {
			_, err := Catalog.Collect(b.Context(), mapreduce.Local{Slots: *nightSlots}, s.in)
			return err
		})
		stop()
		timed(&statement, func() error { s.Exec(b, "COPY ("+reference+") TO '/dev/null'"); return nil })
	}
	runs := float64(b.N)
	b.ReportMetric(joins.Seconds()/runs, "s-joins")
	b.ReportMetric(night.Seconds()/runs, "s-night")
	b.ReportMetric(statement.Seconds()/runs, "s-statement")
	b.ReportMetric(statement.Seconds()/joins.Seconds(), "x-faster")
	b.ReportMetric(float64(most), "connections")
	b.ReportMetric(longest, "s-longest")
}

// watchDatabase looks twenty times a second at the connections of pipelines, until stop is called.
func watchDatabase(b *testing.B, db *pgtest.DB, most *int, longest *float64) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	tick := time.NewTicker(50 * time.Millisecond)
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			row := db.Exec(b, `SELECT count(*), coalesce(max(extract(epoch FROM clock_timestamp() - query_start)) FILTER (WHERE state = 'active'), 0)
				FROM pg_stat_activity WHERE application_name LIKE 'layshaft%' AND pid <> pg_backend_pid()`)[0]
			n, _ := strconv.Atoi(row[0])
			seconds, _ := strconv.ParseFloat(row[1], 64)
			*most, *longest = max(*most, n), max(*longest, seconds)
		}
	}()
	return func() {
		cancel()
		<-ended
		tick.Stop()
	}
}
