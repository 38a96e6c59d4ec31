package layshafttest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
)

// tiers is how a job that merges early went.
type tiers struct {
	id     string
	rows   []sum // in the order in which they came
	stages []report.Stage
	plan   string // what Explain says
}

// in returns how many records and bytes came into a stage.
func in(s *report.Stage) (records, bytes int64) {
	return s.Sum.Counters[".records"], s.Sum.Counters[".bytes"]
}

// tiered runs a job on a new cluster of three workers.
func tiered(t *testing.T, d *mapreduce.Definition[numbers, sum], n numbers, opts ...Option) (r tiers) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, opts...)
		var out bytes.Buffer
		target := c.Target()
		target.Explain, target.Out = true, &out
		if _, err := d.Collect(t.Context(), target, n); err != nil {
			t.Fatal(err)
		}
		j, err := d.Start(t.Context(), c.Target(), n)
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range mapreduce.Rows[sum](j, "") {
			if err != nil {
				t.Fatal(err)
			}
			r.rows = append(r.rows, row)
		}
		if err := errors.Join(j.Wait(), j.Close()); err != nil {
			t.Fatal(err)
		}
		st, _ := c.Job(j.ID())
		r.id, r.stages, r.plan = j.ID(), st.Stages, out.String()
	})
	return r
}

// names returns the names of the stages that merge early.
func (r tiers) names() (names []string) {
	for _, s := range r.stages {
		if strings.HasPrefix(s.Name, "combine ") {
			names = append(names, s.Name)
		}
	}
	return names
}

// Where workers stand in zones, partial aggregates are merged in each zone before they leave it;
// elsewhere there is no such tier. Rows and the job's ID are the same.
func TestZoneTier(t *testing.T) {
	n := numbers{N: 3000, Splits: 12, Groups: 50, Map: time.Millisecond}
	want, err := sums.Collect(t.Context(), mapreduce.Local{Slots: 2}, n)
	if err != nil {
		t.Fatal(err)
	}
	zones := tiered(t, sums, n, Zones("a", "a", "b"))
	if got := zones.names(); !slices.Equal(got, []string{"combine aggregateby", "combine aggregateby, by zone"}) {
		t.Fatalf("tiers %q", got)
	}
	workers, zone, last := &zones.stages[1], &zones.stages[2], &zones.stages[3]
	if workers.Tasks != 3 || zone.Tasks != 2 {
		t.Errorf("%d and %d tasks merge, want 3 and 2", workers.Tasks, zone.Tasks)
	}
	records, before := in(zone)
	_, after := in(last)
	if records != 3*50 || zone.Sum.Records != 2*50 || after*3 != before*2 || zone.Sum.Bytes == 0 || zone.Sum.Bytes >= workers.Sum.Bytes {
		t.Errorf("the tier of zones made %d records (%d bytes stored) of %d (%d), and the last read %d bytes of its %d",
			zone.Sum.Records, zone.Sum.Bytes, records, workers.Sum.Bytes, after, before)
	}
	for _, say := range []string{"what each zone holds of stage 1", "4 tiers: combined in each task, on each worker, in each zone, then by partition"} {
		if !strings.Contains(zones.plan, say) {
			t.Errorf("explain does not say %q:\n%s", say, zones.plan)
		}
	}
	plain := tiered(t, sums, n)
	if got := plain.names(); !slices.Equal(got, []string{"combine aggregateby"}) || strings.Contains(plain.plan, "each zone") {
		t.Errorf("without zones: tiers %q, plan\n%s", got, plain.plan)
	}
	if plain.id != zones.id {
		t.Errorf("without zones it is job %s, with them %s", plain.id, zones.id)
	}
	if !slices.Equal(zones.rows, want) || !slices.Equal(plain.rows, want) {
		t.Errorf("with zones: %v, without: %v, embedded: %v", zones.rows, plain.rows, want)
	}
}

// sizes counts all numbers that are different: one key has everything, and a large accumulator.
var sizes = mapreduce.Define("sizes", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[sum] {
	all := mapreduce.Aggregate(in.source(p), agg.CountDistinctApprox(func(x padded) int64 { return x.N }))
	return mapreduce.Map(all, func(n int64) sum { return sum{Value: n} })
})

// hot adds the numbers up by a key that nine of ten of them have; skewed does so with a sum that
// has an order.
var (
	hot = mapreduce.Define("hot", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[sum] {
		return mapreduce.AggregateBy(in.source(p), in.skewed, agg.Sum(func(x padded) int64 { return x.N }))
	})
	hotOrdered = mapreduce.Define("hot-ordered", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[sum] {
		pairs := mapreduce.Map(in.source(p), func(x padded) sum { return sum{Key: in.skewed(x), Value: x.N} })
		return mapreduce.ReduceByKey(pairs, func(a, b int64) int64 { return a + b })
	})
)

func (in numbers) skewed(x padded) int {
	if x.N%10 > 0 {
		return 0
	}
	return int(x.N/10) % in.Groups
}

// Whatever the number of records that a key has, its last task reads one partial aggregate from
// each worker, or zone, and from each task where the order of merging shows. So it does where all
// records have one key, if the accumulators are large.
func TestHotKey(t *testing.T) {
	n := numbers{N: 9000, Splits: 66, Groups: 10}
	for name, c := range map[string]struct {
		d    *mapreduce.Definition[numbers, sum]
		opts []Option
		last int64 // records that the last stage reads
	}{
		"even":          {sums, nil, 10 * 3},
		"hot":           {hot, nil, 10 * 3},
		"hot, by zones": {hot, []Option{Zones("a", "a", "b")}, 10 * 2},
		"hot, in order": {hotOrdered, nil, 10 * 66},
		"one key":       {sizes, nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := tiered(t, c.d, n, c.opts...)
			if records, _ := in(&r.stages[len(r.stages)-1]); records != c.last {
				t.Errorf("the last of %d stages reads %d records, want %d", len(r.stages), records, c.last)
			}
		})
	}
}

// A command that finds its job again, submitted when other workers were there, takes the tiers that
// the job has.
func TestFoundWithOtherTiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, Zones("a", "a", "b"))
		n := numbers{N: 120, Splits: 12, Groups: 5, Map: time.Second}
		first, err := sums.Start(t.Context(), c.Target(), n)
		if err != nil {
			t.Fatal(err)
		}
		c.WaitFor("the job to run", func() bool { return len(c.Running()) > 0 })
		c.Worker(1).Kill()
		c.Worker(2).Kill()
		c.WaitFor("two workers to be gone", func() bool { return len(c.Coordinator().Workers()) == 1 })
		id, wait := begin(t, c, sums, n)
		if id != first.ID() {
			t.Errorf("job %s, then %s", first.ID(), id)
		}
		n.check(t, wait())
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	})
}
