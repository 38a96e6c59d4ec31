package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// offer is a line such as "saw 450": a brand and a price in cents.
type offer struct {
	Brand string
	Cents int
}

// parseOffers sets lines aside that parse refuses. A line that ends with "!" panics in a run that
// does not accept it.
func parseOffers(p *mapreduce.Plan, in string, accept string) mapreduce.Dataset[offer] {
	return mapreduce.TryMap(mapreduce.Read(p, textio.Lines(in)), func(_ context.Context, line string) (offer, error) {
		brand, text, _ := strings.Cut(line, " ")
		bad := strings.IndexAny(text, "?!,")
		if bad >= 0 && !strings.Contains(accept, text[bad:bad+1]) {
			if text[bad] == '!' {
				panic("a bad offer")
			}
			return offer{}, mapreduce.Skip(errors.New("a bad offer"))
		}
		cents, err := strconv.Atoi(strings.TrimRight(text, "?!,"))
		return offer{brand, cents}, err
	})
}

type brandLine struct {
	Brand  string
	Offers int64
	Cents  int
	Mean   int
}

func brandOf(o offer) string { return o.Brand }
func centsOf(o offer) int    { return o.Cents }

// mergeable are plans with aggregates whose bad records can be merged, by name.
var mergeable = map[string]func(p *mapreduce.Plan, in, out, accept string){
	"by key": func(p *mapreduce.Plan, in, out, accept string) {
		both := agg.Compose2(agg.Count[offer](), agg.Sum(centsOf), func(n int64, sum int) brandLine {
			return brandLine{Offers: n, Cents: sum, Mean: sum / max(1, int(n))}
		})
		mapreduce.AggregateBy(parseOffers(p, in, accept), brandOf, both).WriteTo(jsonio.Write[mapreduce.KV[string, brandLine]](out))
	},
	// The order of a sum of floats shows in the last digits at most, and not in whole numbers.
	"all records": func(p *mapreduce.Plan, in, out, accept string) {
		mean := agg.Mean(func(o offer) float64 { return float64(o.Cents) })
		mapreduce.Aggregate(parseOffers(p, in, accept), mean).WriteTo(jsonio.WriteFile[float64](out + ".json"))
	},
	"several aggregates, then a join and a sort": func(p *mapreduce.Plan, in, out, accept string) {
		offers := parseOffers(p, in, accept)
		counts := mapreduce.CountBy(offers, brandOf)
		most := mapreduce.AggregateBy(offers, brandOf, agg.Max(centsOf))
		joined := mapreduce.Join(counts, most, keyIn[string, int64], keyIn[string, agg.Maybe[int]], func(a mapreduce.KV[string, int64], b mapreduce.KV[string, agg.Maybe[int]]) brandLine {
			return brandLine{Brand: a.Key, Offers: a.Value, Cents: b.Value.Value}
		})
		mapreduce.SortBy(joined, func(b brandLine) string { return b.Brand }).WriteTo(csvio.Write[brandLine](out))
	},
	"distinct, with a small side and a second input": func(p *mapreduce.Plan, in, out, accept string) {
		names := mapreduce.Read(p, memio.Of(mapreduce.KV[string, string]{Key: "b1", Value: "Saws"}))
		named := mapreduce.BroadcastJoin(parseOffers(p, in, accept), names, brandOf, keyIn[string, string], func(o offer, name *mapreduce.KV[string, string]) offer {
			if name != nil {
				o.Brand = name.Value
			}
			return o
		})
		more := mapreduce.Map(mapreduce.Read(p, memio.Of("b7", "b99")), func(s string) offer { return offer{s, 1} })
		rows := mapreduce.GroupBy(mapreduce.Distinct(mapreduce.Union(named, more)), brandOf, func(brand string, offers iter.Seq[offer]) string {
			text := brand
			for o := range offers {
				text += fmt.Sprint(" ", o.Cents)
			}
			return text
		})
		rows.WriteTo(textio.Write(out))
	},
}

func keyIn[K, V any](kv mapreduce.KV[K, V]) K { return kv.Key }

// planOffers writes random offers, some of them bad.
func planOffers(t *testing.T, random *rand.Rand, in string) (bad int) {
	for file := range 1 + random.IntN(4) {
		var lines []string
		for range 1 + random.IntN(300) {
			line := fmt.Sprintf("b%d %d", random.IntN(12), random.IntN(1000))
			if random.IntN(20) == 0 {
				bad++
				line += string("??,,!"[random.IntN(5)])
			}
			lines = append(lines, line)
		}
		writeLines(t, filepath.Join(in, fmt.Sprintf("%d.txt", file)), lines...)
	}
	return bad
}

func offersPlan(name, in, out, accept string) *mapreduce.Definition[none, mapreduce.None] {
	return mapreduce.Define("offers", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[mapreduce.None] {
		mergeable[name](p, in, out, accept)
		return mapreduce.Nothing(p)
	}, mapreduce.MaxBad(1000), mapreduce.Parallel(3))
}

// TestRequeueMerges checks that the bad records of plans with aggregates, after a fix, give the
// output of a run of the fixed program over everything, in one step or in several.
func TestRequeueMerges(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for name := range mergeable {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/seed=%d", name, seed), func(t *testing.T) {
				t.Chdir(t.TempDir())
				random := rand.New(rand.NewPCG(seed, 0))
				bad := planOffers(t, random, "in")
				var printed bytes.Buffer
				run := func(out, requeue, accept string) {
					t.Helper()
					target := mapreduce.Local{Slots: 2, Memory: 32 << 20, Reporting: mapreduce.Reporting{Requeue: requeue, Quarantine: out + "-bad.jsonl", Err: &printed}}
					if _, err := offersPlan(name, "in", out, accept).Collect(t.Context(), target, none{}); err != nil {
						t.Fatalf("%s %s %q: %v", out, requeue, accept, err)
					}
				}
				run("out", "", "")
				run("whole", "", "?,!")
				if bad == 0 {
					if _, err := os.Stat("out-partials"); err == nil {
						t.Error("partial results without bad records")
					}
					return
				}
				for _, accept := range []string{",", "?,", "?,!", "?,!"} {
					run("out", "out-bad.jsonl", accept)
					run("fixed", "", accept)
					if got, want := linesOf(t, "out*/part-*"), linesOf(t, "fixed/part-*"); !slices.Equal(got, want) {
						t.Fatalf("with %s accepted:\n%s\nwant\n%s\n%s", accept, strings.Join(got, "\n"), strings.Join(want, "\n"), printed.String())
					}
				}
				if got, want := linesOf(t, "out*.json"), linesOf(t, "whole*.json"); !slices.Equal(got, want) {
					t.Errorf("%s, want %s", got, want)
				}
				if left, err := os.ReadFile("out-bad.jsonl"); err != nil || len(left) > 0 {
					t.Errorf("left %q, %v", left, err)
				}
				if all, _ := filepath.Glob("out*-partials/*"); len(all) != 2 {
					t.Errorf("partial results: %s", all)
				}
			})
		}
	}
}

// TestRequeueMergeKilled kills a requeue at each step at its end. The next one completes it, and
// merges nothing twice.
func TestRequeueMergeKilled(t *testing.T) {
	const name = "by key"
	requeue := func(out string) error {
		target := mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Requeue: out + "-quarantine.jsonl", Err: new(bytes.Buffer)}}
		_, err := offersPlan(name, "in", out, "?,").Collect(t.Context(), target, none{})
		return err
	}
	if text := os.Getenv("LAYSHAFT_TEST_KILL"); text != "" {
		kill, _ := strconv.Atoi(text)
		mapreduce.OnFinishStep(func(step string) {
			if kill--; kill == 0 {
				fmt.Println("killed at", step)
				os.Exit(7)
			}
		})
		if err := requeue("out"); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Chdir(t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	planOffers(t, rand.New(rand.NewPCG(1, 0)), "in")
	if _, err := offersPlan(name, "in", "whole", "?,").Collect(t.Context(), mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Err: new(bytes.Buffer)}}, none{}); err != nil {
		t.Fatal(err)
	}
	want := linesOf(t, "whole/part-*")
	var steps []string
	for kill := 1; ; kill++ {
		for _, f := range []string{"out", "out-partials", "out-quarantine.jsonl"} {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := offersPlan(name, "in", "out", "").Collect(t.Context(), mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Err: new(bytes.Buffer)}}, none{}); err != nil {
			t.Fatal(err)
		}
		before := linesOf(t, "out/part-*")
		cmd := exec.Command(self, "-test.run=^TestRequeueMergeKilled$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("LAYSHAFT_TEST_KILL=%d", kill))
		said, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err == nil {
			break // it has fewer steps
		}
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Fatalf("%v: %s", err, said)
		}
		step := strings.TrimSpace(string(said))
		steps = append(steps, step)
		if got := linesOf(t, "out/part-*"); !slices.Equal(got, before) && !slices.Equal(got, want) {
			t.Errorf("%s: the output is %s", step, got)
		}
		for range 2 {
			if err := requeue("out"); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			if got := linesOf(t, "out/part-*"); !slices.Equal(got, want) {
				t.Fatalf("%s:\n%s\nwant\n%s", step, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		// Only the records that panic are left.
		for _, line := range linesOf(t, "out-quarantine.jsonl") {
			if !strings.Contains(line, `"operator":"panic"`) {
				t.Errorf("%s: left %s", step, line)
			}
		}
	}
	if len(steps) != 6 {
		t.Errorf("%d steps: %q", len(steps), steps)
	}
}

// TestRequeueMergeRefused checks that records are not merged with other results than theirs.
func TestRequeueMergeRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	planOffers(t, rand.New(rand.NewPCG(3, 0)), "in")
	run := func(name, requeue, accept string) error {
		target := mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Requeue: requeue, Quarantine: "bad.jsonl", Err: new(bytes.Buffer)}}
		_, err := offersPlan(name, "in", "out", accept).Collect(t.Context(), target, none{})
		return err
	}
	reset := func() {
		for _, f := range []string{"out", "out-partials", "bad.jsonl"} {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
		if err := run("by key", "", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		change     func()
		plan       string
	}{
		{"no partial results", "has no partial results", func() { os.RemoveAll("out-partials") }, "by key"},
		{"damaged", "damaged; run the job as a whole", func() {
			parts, _ := filepath.Glob("out-partials/*/part-*")
			for _, p := range parts {
				text, _ := os.ReadFile(p)
				text[len(text)-1] ^= 1
				os.WriteFile(p, text, 0o644)
			}
		}, "by key"},
		{"another aggregate", "its keys and accumulators are", func() {}, "distinct, with a small side and a second input"},
		{"another output", "has not the output of job", func() {
			if err := os.Rename("out-partials", "kept"); err != nil {
				t.Fatal(err)
			}
			was, _ := os.ReadFile("bad.jsonl")
			writeLines(t, "in/more.txt", "b1 1")
			if err := run("by key", "", ""); err != nil {
				t.Fatal(err)
			}
			os.RemoveAll("in/more.txt")
			os.RemoveAll("out-partials")
			os.Rename("kept", "out-partials")
			os.WriteFile("bad.jsonl", was, 0o644)
		}, "by key"},
	} {
		reset()
		c.change()
		before, bad := linesOf(t, "out/part-*"), linesOf(t, "bad.jsonl")
		err := run(c.plan, "bad.jsonl", "?,!")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "run the job as a whole") {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if after := linesOf(t, "out/part-*"); !slices.Equal(before, after) {
			t.Errorf("%s: the output changed", c.name)
		}
		if after := linesOf(t, "bad.jsonl"); !slices.Equal(bad, after) {
			t.Errorf("%s: the quarantine changed", c.name)
		}
	}
}
