package mapreduce_test

import (
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	_ "github.com/layshaft/layshaft/mapreduce/inspect"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// The page of a run names a planted hot key of every kind, with its share, and no key of even data.
func TestHotKeys(t *testing.T) {
	t.Parallel()
	type brand struct {
		Country string
		Number  int
	}
	const share = 4 // every fourth record is hot
	n := int64(400_000)
	if testing.Short() {
		n = 100_000
	}
	key := func(hot bool, i int64) int64 {
		if x := uint64(i) * 0x9e3779b97f4a7c15; !hot || x>>32%share != 0 {
			return int64(x >> 40 % 10_000)
		}
		return -7
	}
	type plan = *mapreduce.Definition[bool, mapreduce.KV[string, int64]]
	define := func(name string, from func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]]) plan {
		return mapreduce.Define("hot-"+name, func(p *mapreduce.Plan, hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			return from(mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i })), hot)
		})
	}
	count := func(values iter.Seq[int64]) (c int64) {
		for range values {
			c++
		}
		return c
	}
	text := func(hot bool, i int64) string {
		if k := key(hot, i); k >= 0 {
			return strconv.FormatInt(k, 10)
		}
		return "<script>\xff"
	}
	for name, c := range map[string]struct {
		plan plan
		want string
	}{
		"strings": {define("strings", func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			return mapreduce.CountBy(d, func(i int64) string { return text(hot, i) })
		}), `&lt;script&gt;\xff`},
		"structs": {define("structs", func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			return mapreduce.GroupBy(d, func(i int64) brand { return brand{"de", int(key(hot, i))} }, func(k brand, values iter.Seq[int64]) mapreduce.KV[string, int64] {
				return mapreduce.KV[string, int64]{Key: k.Country, Value: count(values)}
			})
		}), "{de -7}"},
		"sorted groups": {define("groups", func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			return mapreduce.GroupBy(d, func(i int64) string { return text(hot, i) }, func(k string, values iter.Seq[int64]) mapreduce.KV[string, int64] {
				return mapreduce.KV[string, int64]{Key: k, Value: count(values)}
			}, mapreduce.SortValues(func(i int64) int64 { return -i }))
		}), `&lt;script&gt;\xff`},
		"joined": {define("joined", func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			small := d.Filter(func(i int64) bool { return i < 100 })
			return mapreduce.Join(d, small, func(i int64) int64 { return key(hot, i) }, func(i int64) int64 { return i }, func(l, r int64) mapreduce.KV[string, int64] {
				return mapreduce.KV[string, int64]{Value: l + r}
			})
		}), ">-7<"},
		"sorted": {define("sorted", func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			sorted := mapreduce.SortBy(d, func(i int64) int64 { return key(hot, i) }, mapreduce.Descending())
			return mapreduce.Map(sorted, func(i int64) mapreduce.KV[string, int64] { return mapreduce.KV[string, int64]{Value: i} })
		}), ">-7<"},
		"sorted records": {define("records", func(d mapreduce.Dataset[int64], hot bool) mapreduce.Dataset[mapreduce.KV[string, int64]] {
			sorted := mapreduce.Sort(mapreduce.Map(d, func(i int64) string { return text(hot, i) }))
			return mapreduce.Map(sorted, func(s string) mapreduce.KV[string, int64] { return mapreduce.KV[string, int64]{Key: s} })
		}), `&lt;script&gt;\xff`},
	} {
		for _, hot := range []bool{true, false} {
			file := filepath.Join(t.TempDir(), "run.html")
			target := mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Report: file}}
			for _, err := range c.plan.Run(t.Context(), target, hot) {
				if err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			page := string(b)
			if !hot {
				if strings.Contains(page, "Hot keys") {
					t.Errorf("%s: even data has hot keys", name)
				}
				continue
			}
			_, table, _ := strings.Cut(page, `id="hot-keys"`)
			table, _, _ = strings.Cut(table, "</table>")
			shares := regexp.MustCompile(`<small>([0-9.]+) %</small>`).FindAllStringSubmatch(table, -1)
			if !strings.Contains(table, c.want) || len(shares) != 1 {
				t.Errorf("%s: no single line with the key %s: %s", name, c.want, table)
				continue
			}
			if got, err := strconv.ParseFloat(shares[0][1], 64); err != nil || !slices.ContainsFunc([]float64{got}, func(x float64) bool { return x > 22 && x < 28 }) {
				t.Errorf("%s: a share of %s %%, want 25", name, shares[0][1])
			}
		}
	}
}
