package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestWorksAgainstPlainGo runs the small works over 1/64 of the data, with and without spilling.
// The outputs must equal the outputs of a few lines of Go.
func TestWorksAgainstPlainGo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
	dir := t.TempDir()
	const all = "github.com/layshaft/layshaft/bench/cmd/"
	if err := goBuild(t.Context(), "", "CGO_ENABLED=0", dir+string(filepath.Separator), all+"gen", all+"pipelines"); err != nil {
		t.Fatal(err)
	}
	set := filepath.Join(dir, "set")
	if _, err := command(t.Context(), "", filepath.Join(dir, "gen"), "works", set, "64"); err != nil {
		t.Fatal(err)
	}
	for _, work := range works {
		want, ok := plain[work.name]
		if !ok || work.dev { // over the catalogue, or on a cluster
			continue
		}
		for _, memory := range []string{"16MiB", "512MiB"} {
			t.Run(work.name+"/"+memory, func(t *testing.T) {
				in, err := work.input(set, "")
				if err != nil {
					t.Fatal(err)
				}
				out := filepath.Join(t.TempDir(), "out")
				args := append([]string{"-progress", "none", "-slots", "2", "-memory", memory, work.program, out}, in.args...)
				if b, err := exec.Command(filepath.Join(dir, "pipelines"), args...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, b)
				}
				parts, _ := filepath.Glob(out + "/part-*")
				got, counts := readLines(t, parts), map[string]int64{}
				want(t, in.paths, func(key string, n int64) { counts[key] += n })
				var lines []string
				for key, n := range counts {
					lines = append(lines, strings.TrimLeft(fmt.Sprintf("%s\t%d", key, n), "\t"))
				}
				slices.Sort(got)
				slices.Sort(lines)
				if !slices.Equal(got, lines) {
					t.Errorf("%d lines, want %d; the first are %.5q, want %.5q", len(got), len(lines), got, lines)
				}
			})
		}
	}
}

// TestProgramsAgree runs every work that has a hand-written program on 1/64 of the data. The outputs
// of the pipeline, with and without state, must equal the hand-written one's.
func TestProgramsAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
	t.Setenv("LAYSHAFT_BENCH_DATA", t.TempDir())
	chosen := slices.DeleteFunc(slices.Clone(workloads), func(work workload) bool {
		return work.dev || work.noLimit || work.query.text != "" && work.query.limit == "" || work.query.dev || slices.Contains(work.files, parquetFile)
	})
	var out strings.Builder
	if err := run(t.Context(), &out, chosen, config{rounds: 1, scale: 64, skipDuck: true}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if n := strings.Count(out.String(), "| "+handWritten); n != len(chosen) {
		t.Errorf("%d works beside a hand-written program, want %d:\n%s", n, len(chosen), &out)
	}
}

// plain has the works in plain Go. Each calls add for every line of the output, with its key and a
// part of its last column.
var plain = map[string]func(t *testing.T, paths []string, add func(key string, n int64)){
	"chain": func(t *testing.T, paths []string, add func(string, int64)) {
		for _, e := range readEvents(t, paths) {
			k := e[0]
			for i := range int64(8) {
				k = (k*48271 + i) % 15_485_863
			}
			add(strconv.FormatInt(k%1000, 10), e[2])
		}
	},
	"skewjoin": func(t *testing.T, paths []string, add func(string, int64)) {
		country := map[string]string{}
		for _, line := range readLines(t, paths[:1])[1:] {
			user, c, _ := strings.Cut(line, ",")
			country[user] = c
		}
		n, sum := map[string]int{}, map[string]int64{}
		for _, e := range readEvents(t, paths[1:]) {
			c := country[strconv.FormatInt(e[1], 10)]
			n[c]++
			sum[c] += e[2]
		}
		for c := range n {
			add(fmt.Sprintf("%s\t%d", c, n[c]), sum[c])
		}
	},
	"countdistinct": func(t *testing.T, paths []string, add func(string, int64)) {
		ids := map[int64]bool{}
		for _, e := range readEvents(t, paths) {
			ids[e[0]] = true
		}
		add("", int64(len(ids)))
	},
	"longkeys": repeatedLines, "manykeys": repeatedLines,
	"tiny": func(t *testing.T, paths []string, add func(string, int64)) {
		for _, word := range readLines(t, paths) {
			add(word, 1)
		}
	},
}

func repeatedLines(t *testing.T, paths []string, add func(string, int64)) {
	counts := map[string]int{}
	for _, line := range readLines(t, paths) {
		counts[line]++
	}
	for n := range maps.Values(counts) {
		add(strconv.Itoa(n), 1)
	}
}

func readLines(t *testing.T, paths []string) (lines []string) {
	t.Helper()
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			lines = append(lines, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
		}
	}
	return lines
}

// readEvents returns the ids, users and amounts of all events.
func readEvents(t *testing.T, paths []string) (events [][3]int64) {
	t.Helper()
	for _, line := range readLines(t, paths) {
		var e [3]int64
		if _, err := fmt.Sscanf(line, "%d,%d,%d", &e[0], &e[1], &e[2]); err == nil { // no header
			events = append(events, e)
		}
	}
	return events
}
