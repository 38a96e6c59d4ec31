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

// followed is the number of changed products in BenchmarkFollow.
const followed = 20_000

// BenchmarkFollow measures how changes follow: from a commit to the document while nothing else
// happens, all products changed at once, and 100,000 changes of 1,000 products.
func BenchmarkFollow(b *testing.B) {
	for _, kind := range []string{"table", "server"} {
		b.Run(kind, func(b *testing.B) {
			s, fake := fakeShop(b, followed)
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
				b.ReportMetric(followed/time.Since(written).Seconds(), "docs/s")
				b.ReportMetric(written.Sub(begun).Seconds(), "s-to-write")

				before := s.await(b).Done
				s.Exec(b, "BEGIN;"+strings.Repeat("UPDATE products SET title = title || '.' WHERE id <= 1000;", 100)+"COMMIT")
				b.ReportMetric(float64(s.await(b).Done-before), "docs-of-100000-changes")
			}
		})
	}
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
