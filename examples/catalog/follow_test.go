package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce/pgio"
)

// BenchmarkFollow measures how changes follow: from a commit to the document while nothing else
// happens, 100,000 changed products, and 100,000 changes of 1,000 products.
func BenchmarkFollow(b *testing.B) {
	for _, kind := range []string{"table", "server"} {
		b.Run(kind, func(b *testing.B) {
			s, fake := fakeShop(b, 100_000)
			s.nightly(b)
			s.install(b)
			if kind == "table" {
				s.url = ""
			}
			s.follows(b)
			s.settle(b)
			for b.Loop() {
				b.ReportMetric(s.latency(b, 300, kind == "table", func(found chan<- struct{}) {
					fake.Before = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
						if strings.HasSuffix(r.URL.Path, "/_bulk") {
							found <- struct{}{}
						}
						return false
					}
				}).Seconds()*1000, "p99-ms")
				fake.Before = nil

				begun := time.Now()
				s.Exec(b, "UPDATE products SET title = title || '.'")
				written := time.Now()
				s.settle(b)
				b.ReportMetric(100_000/time.Since(written).Seconds(), "docs/s")
				b.ReportMetric(written.Sub(begun).Seconds(), "s-to-write")

				before := s.writes(b, fake.Counts)
				s.Exec(b, "BEGIN;"+strings.Repeat("UPDATE products SET title = title || '.' WHERE id <= 1000;", 100)+"COMMIT")
				s.settle(b)
				b.ReportMetric(float64(s.writes(b, fake.Counts)-before), "docs-of-100000-changes")
			}
		})
	}
}

// writes returns how many documents were written so far.
func (s *shop) writes(b *testing.B, counts func() (bulks, most, writes int)) (n int) {
	if _, _, n = counts(); s.url == "" {
		_, err := fmt.Sscan(s.Exec(b, "SELECT pg_stat_force_next_flush(); SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'documents'")[0][0], &n)
		if err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// latency changes products one by one, and returns the time of the slowest in a hundred from its
// commit to its document.
func (s *shop) latency(b *testing.B, n int, table bool, watch func(found chan<- struct{})) time.Duration {
	found := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if watch(found); table {
		s.Exec(b, `CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY written; RETURN NULL; END $$;
			CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE ON documents FOR EACH STATEMENT EXECUTE FUNCTION tell()`)
		defer s.Exec(b, "DROP TRIGGER tell ON documents")
		c, err := pgio.Connect(ctx, s.DSN())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close(context.Background())
		if _, err := c.Exec(ctx, "LISTEN written").ReadAll(); err != nil {
			b.Fatal(err)
		}
		go func() {
			for c.WaitForNotification(ctx) == nil {
				found <- struct{}{}
			}
		}()
	}
	db := openDatabase(s.DSN(), 1)
	defer db.close()
	var all []time.Duration
	for i := range n {
		if _, err := db.query(ctx, "UPDATE products SET title = title || '.' WHERE id = $1", fmt.Sprint(i*7+1)); err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		<-found
		all = append(all, time.Since(begun))
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
