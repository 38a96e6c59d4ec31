package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// prices is a pipeline over lines such as "drill 4.50" that sets lines aside whose price parse
// refuses. It writes a line and its price in cents.
func prices(in, out string, parse func(string) (float64, error)) *mapreduce.Definition[none, mapreduce.None] {
	return mapreduce.Define("prices", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[mapreduce.None] {
		keyed := mapreduce.KeyBy(mapreduce.Read(p, textio.Lines(in)), func(line string) int { return len(line) })
		mapreduce.TryMap(mapreduce.Values(keyed), func(_ context.Context, line string) (string, error) {
			_, text, _ := strings.Cut(line, " ")
			if text == "panic" {
				panic("no price")
			}
			v, err := parse(text)
			return fmt.Sprintf("%s = %d", line, int(v*100)), mapreduce.Skip(err)
		}).WriteTo(textio.Write(out))
		return mapreduce.Nothing(p)
	}, mapreduce.MaxBad(100))
}

func strict(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

// lenient also reads a decimal comma, the fix of the tests.
func lenient(text string) (float64, error) {
	return strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
}

// linesOf returns the sorted lines of all files that match.
func linesOf(t *testing.T, glob string) []string {
	t.Helper()
	var all []string
	files, _ := filepath.Glob(glob)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	slices.Sort(all)
	return all
}

func writeLines(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRequeue checks that the records of a quarantine file, after a fix, give the output of a whole
// run, and that none of them is added twice.
func TestRequeue(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for i := range 4 {
		var lines []string
		for n := range 50 {
			line := fmt.Sprintf("item%d-%d %d.5", i, n, n)
			if i < 2 && n%10 == 3 {
				line = fmt.Sprintf("item%d-%d %d,5", i, n, n)
			}
			if i == 1 && n == 7 {
				line += "?"
			}
			lines = append(lines, line)
		}
		writeLines(t, fmt.Sprintf("in/%d.txt", i), lines...)
	}
	const bad = "out-quarantine.jsonl"
	var said bytes.Buffer
	target := func(requeue string) mapreduce.Target {
		said.Reset()
		return mapreduce.Local{Slots: 2, Memory: 32 << 20, Reporting: mapreduce.Reporting{Requeue: requeue, Err: &said}}
	}
	run := func(out, requeue string, parse func(string) (float64, error)) error {
		_, err := prices("in", out, parse).Collect(t.Context(), target(requeue), none{})
		return err
	}
	if err := run("out", "", strict); err != nil {
		t.Fatal(err)
	}
	first := linesOf(t, bad)
	if len(first) != 11 || !strings.Contains(first[0], `"job":"prices-`) {
		t.Fatalf("%d bad records: %s", len(first), first)
	}
	if err := os.WriteFile("copy.jsonl", []byte(strings.Join(first, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run("whole", "", lenient); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, bad, "copy.jsonl"} {
		if err := run("out", file, lenient); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if got, want := linesOf(t, "out/part-*"), linesOf(t, "whole/part-*"); !slices.Equal(got, want) {
			t.Fatalf("%s: the output differs from a whole run: %d and %d lines\n%s", file, len(got), len(want), said.String())
		}
		if got := linesOf(t, file); len(got) != 1 || !strings.Contains(got[0], "7.5?") {
			t.Errorf("left in %s: %s", file, got)
		}
	}
	// The output is input for others, and the last record can be added by another fix.
	rows, err := mapreduce.Define("read", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[string] {
		return mapreduce.Read(p, textio.Lines("out"))
	}).Collect(t.Context(), target(""), none{})
	if err != nil || len(rows) != 199 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if err := run("out", bad, func(text string) (float64, error) { return lenient(strings.TrimSuffix(text, "?")) }); err != nil {
		t.Fatal(err)
	}
	if got := linesOf(t, "out/part-*"); len(got) != 200 {
		t.Errorf("%d lines, want 200", len(got))
	}
	if text, err := os.ReadFile(bad); err != nil || len(text) > 0 {
		t.Errorf("left: %q, %v", text, err)
	}
	if !strings.Contains(said.String(), "1 record of out-quarantine.jsonl in the output now; nothing is left") {
		t.Errorf("said %s", said.String())
	}
	if err := run("out", bad, lenient); err != nil || !strings.Contains(said.String(), "has no records, so nothing runs") {
		t.Errorf("an empty file: %v, %s", err, said.String())
	}
	// The records are of another job than the output.
	if err := run("whole", "copy.jsonl", lenient); err == nil || !strings.Contains(err.Error(), "contains the output of job prices-") {
		t.Errorf("records of another job: %v", err)
	}
}

// TestRequeueChangedInput checks that a requeue that does not find its records changes nothing.
func TestRequeueChangedInput(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeLines(t, "in/a.txt", "saw 1", "drill x", "bolt panic")
	target := mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Err: new(bytes.Buffer)}}
	if _, err := prices("in", "out", strict).Collect(t.Context(), target, none{}); err != nil {
		t.Fatal(err)
	}
	before := linesOf(t, "out-quarantine.jsonl")
	if len(before) != 2 {
		t.Fatal(before)
	}
	writeLines(t, "in/a.txt", "saw 1", "more drill 5", "bolt 7")
	target.Requeue = "out-quarantine.jsonl"
	_, err := prices("in", "out", strict).Collect(t.Context(), target, none{})
	if err == nil || !strings.Contains(err.Error(), "2 records the input has 1: it has changed") {
		t.Errorf("changed input: %v", err)
	}
	if after := linesOf(t, "out-quarantine.jsonl"); !slices.Equal(after, before) {
		t.Errorf("the quarantine is %s", after)
	}
	// Corrected in place, it gives the results, also of a record that panicked.
	writeLines(t, "in/a.txt", "saw 1", "drill 5", "bolt 7")
	if _, err := prices("in", "out", strict).Collect(t.Context(), target, none{}); err != nil {
		t.Fatal(err)
	}
	if got := linesOf(t, "out/part-*"); !slices.Equal(got, []string{"bolt 7 = 700", "drill 5 = 500", "saw 1 = 100"}) {
		t.Errorf("output %s", got)
	}
}

// TestRequeueRefused checks the plans whose records cannot run without the others.
func TestRequeueRefused(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeLines(t, "in/a.txt", "a 1", "b x")
	skip := func(_ context.Context, s string) (string, error) {
		if strings.HasSuffix(s, "x") {
			return "", mapreduce.Skip(errors.New("ugly"))
		}
		return s, nil
	}
	for _, c := range []struct {
		name, want string
		build      func(p *mapreduce.Plan)
	}{
		{"shuffle", "each stage from there on must run whole: stage 1 (sort at requeue_test.go:", func(p *mapreduce.Plan) {
			mapreduce.Sort(mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)).WriteTo(textio.Write("out"))
		}},
		{"order", "depends on the order of records", func(p *mapreduce.Plan) {
			lines := mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)
			mapreduce.DistinctBy(lines, func(s string) string { return s }).WriteTo(textio.Write("out"))
		}},
		{"an aggregate and a sort", "stage 2 (sort at requeue_test.go:", func(p *mapreduce.Plan) {
			lines := mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)
			mapreduce.CountBy(lines, func(s string) string { return s }).WriteTo(jsonio.Write[mapreduce.KV[string, int64]]("out"))
			mapreduce.Sort(lines).WriteTo(textio.Write("all"))
		}},
		{"an aggregate and a sink", "it writes records to textio.Write(\"all\") and to an aggregate", func(p *mapreduce.Plan) {
			lines := mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)
			mapreduce.CountBy(lines, func(s string) string { return s }).WriteTo(jsonio.Write[mapreduce.KV[string, int64]]("out"))
			lines.WriteTo(textio.Write("all"))
		}},
		{"an aggregate of a side", "is the small side of its join", func(p *mapreduce.Plan) {
			lines := mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)
			counts := mapreduce.CountBy(mapreduce.Read(p, textio.Lines("in")), func(s string) string { return s })
			both := mapreduce.BroadcastJoin(lines, counts, func(s string) string { return s }, keyIn[string, int64], func(s string, _ *mapreduce.KV[string, int64]) string { return s })
			mapreduce.CountBy(both, func(s string) string { return s }).WriteTo(jsonio.Write[mapreduce.KV[string, int64]]("out"))
		}},
		{"several outputs and parts", "makes several records of one", func(p *mapreduce.Plan) {
			words := mapreduce.FlatMap(mapreduce.Read(p, textio.Lines("in")), strings.FieldsSeq)
			mapreduce.CountBy(mapreduce.TryMap(words, skip), func(s string) string { return s }).WriteTo(jsonio.Write[mapreduce.KV[string, int64]]("out"))
		}},
		{"rows of an aggregate", "keeps no partial results", func(p *mapreduce.Plan) {
			lines := mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)
			mapreduce.Output(p, "counts", mapreduce.CountBy(lines, func(s string) string { return s }))
		}},
		{"rows", "go to the program", func(p *mapreduce.Plan) {
			mapreduce.Output(p, "rows", mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip))
		}},
		{"one file", "writes one file", func(p *mapreduce.Plan) {
			mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip).WriteTo(textio.WriteFile("out.txt"))
		}},
		{"parts", "makes several records of one", func(p *mapreduce.Plan) {
			words := mapreduce.FlatMap(mapreduce.Read(p, textio.Lines("in")), strings.FieldsSeq)
			mapreduce.TryMap(words, skip).WriteTo(textio.Write("out"))
		}},
		{"two readers", "has several readers", func(p *mapreduce.Plan) {
			lines := mapreduce.Read(p, textio.Lines("in"))
			mapreduce.TryMap(lines, skip).WriteTo(textio.Write("out"))
			lines.WriteTo(textio.Write("all"))
		}},
		{"numbers", "its result depends on other records", func(p *mapreduce.Plan) {
			lines := mapreduce.TryMap(mapreduce.Read(p, textio.Lines("in")), skip)
			mapreduce.MapTask(lines, func(_ context.Context, _ mapreduce.Task, emit func(string)) (func(string) error, func() error) {
				return func(s string) error { emit(s); return nil }, func() error { return nil }
			}).WriteTo(textio.Write("out"))
		}},
	} {
		target := mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Quarantine: "bad.jsonl", Err: new(bytes.Buffer)}}
		d := mapreduce.Define("refused", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[mapreduce.None] {
			c.build(p)
			return mapreduce.Nothing(p)
		}, mapreduce.MaxBad(5))
		if _, err := d.Collect(t.Context(), target, none{}); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		target.Requeue = "bad.jsonl"
		before := linesOf(t, "bad.jsonl")
		if _, err := d.Collect(t.Context(), target, none{}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasSuffix(err.Error(), "run the job as a whole") {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if after := linesOf(t, "bad.jsonl"); !slices.Equal(before, after) {
			t.Errorf("%s: the quarantine is %s", c.name, after)
		}
		for _, f := range []string{"out", "out-partials", "all", "bad.jsonl"} {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRequeueTwoSinks checks a join with a small side and several formats, with records that the
// source refuses.
func TestRequeueTwoSinks(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	type item struct {
		Name  string
		Price int
	}
	run := func(requeue string) ([]string, []string) {
		d := mapreduce.Define("both", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[mapreduce.None] {
			shops := mapreduce.Read(p, memio.Of(mapreduce.KV[string, string]{Key: "saw", Value: "Saws"}, mapreduce.KV[string, string]{Key: "drill", Value: "Drills"}))
			items := mapreduce.BroadcastJoin(mapreduce.Read(p, jsonio.Rows[item]("in")), shops,
				func(x item) string { return x.Name }, func(s mapreduce.KV[string, string]) string { return s.Key },
				func(x item, s *mapreduce.KV[string, string]) item {
					if s != nil {
						x.Name = s.Value
					}
					return x
				})
			items.WriteTo(csvio.Write[item]("csv"))
			items.WriteTo(jsonio.Write[item]("json"))
			return mapreduce.Nothing(p)
		}, mapreduce.MaxBad(5))
		target := mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Quarantine: "bad.jsonl", Requeue: requeue, Err: new(bytes.Buffer)}}
		if _, err := d.Collect(t.Context(), target, none{}); err != nil {
			t.Fatal(err)
		}
		return linesOf(t, "csv/part-*"), linesOf(t, "json/part-*")
	}
	writeLines(t, "in/a.json", `{"Name":"saw","Price":5}`, `{"Name":"drill","Price":"7"}`)
	if a, b := run(""); len(a) != 2 || len(b) != 1 {
		t.Fatal(a, b)
	}
	writeLines(t, "in/a.json", `{"Name":"saw","Price":5}`, `{"Name":"drill","Price":777}`)
	a, b := run("bad.jsonl")
	if !slices.Equal(a, []string{"Drills,777", "Name,Price", "Name,Price", "Saws,5"}) || !slices.Equal(b, []string{`{"Name":"Drills","Price":777}`, `{"Name":"Saws","Price":5}`}) {
		t.Errorf("%s, %s", a, b)
	}
}
