package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Each workload is compared with a few plain lines of Go on random data.

func TestEachChunkGivesEveryLineOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for _, ending := range []string{"\n", ""} {
		var files []string
		var want []string
		for f := range 3 {
			var b strings.Builder
			for b.Len() < (f+1)*chunkSize-100 {
				line := fmt.Sprint(len(want), strings.Repeat("x", r.IntN(1<<r.IntN(18))))
				want = append(want, line)
				b.WriteString(line + "\n")
			}
			files = append(files, write(t, fmt.Sprint(f), strings.TrimSuffix(b.String(), "\n")+ending))
		}
		var mu sync.Mutex
		var got []string
		err := eachChunk(files, func(_ int, lines []byte) {
			mu.Lock()
			defer mu.Unlock()
			if lines[:len(lines)+1][len(lines)] != '\n' && !bytes.HasSuffix(lines, []byte("\n")) {
				t.Errorf("no line feed in or after a slice that ends with %q", lines[len(lines)-1])
			}
			got = append(got, strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")...)
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("ending %q: %d lines, want %d, or some of them differ", ending, len(got), len(want))
		}
	}
}

func TestEachChunkReadsLongLines(t *testing.T) {
	long := strings.Repeat("x", 3*chunkSize+overlap+7)
	for _, text := range []string{long + "\n", "a\n" + long, "a\n" + long + "\nb\n" + long + "\nc"} {
		var mu sync.Mutex
		var got []string
		err := eachChunk([]string{write(t, "long", text)}, func(_ int, lines []byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")...)
		})
		want := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d lines of a file of %d bytes, %v; want %d", len(got), len(text), err, len(want))
		}
	}
}

// A process may not open so many files at a time.
func TestEachChunkReadsManyFiles(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i := range 3000 {
		files = append(files, filepath.Join(dir, fmt.Sprint(i)))
		if err := os.WriteFile(files[i], []byte("a line\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var lines, open atomic.Int64
	err := eachChunk(files, func(_ int, b []byte) {
		lines.Add(int64(bytes.Count(b, []byte("\n"))))
		if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
			open.Store(max(open.Load(), int64(len(fds))))
		}
	})
	if err != nil || lines.Load() != 3000 {
		t.Errorf("%d lines, %v; want 3000", lines.Load(), err)
	}
	if open.Load() > 500 {
		t.Errorf("%d files were open at a time", open.Load())
	}
}

func TestW1(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	var b strings.Builder
	want := map[string]int{}
	for range 200_000 {
		word := strings.Repeat("é", r.IntN(2)) + fmt.Sprint(r.IntN(1000)) + strings.Repeat("z", r.IntN(30)) // 1 to 34 bytes
		want[word]++
		b.WriteString(word + []string{" ", "\n", "  ", "\t\n"}[r.IntN(4)])
	}
	out := t.TempDir()
	if err := w1(out, []string{write(t, "in", strings.TrimSpace(b.String()))}); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for word, n := range want {
		lines = append(lines, fmt.Sprintf("%s\t%d", word, n))
	}
	compareLines(t, out, lines)
}

// A table that starts with few slots has to grow.
func TestWordTableGrows(t *testing.T) {
	table := &wordTable{}
	if err := table.resize(2); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		text := fmt.Sprintf("w%d word-of-many-letters-%d w%d", i, i, i)
		table.addText(append([]byte(text), make([]byte, slackBytes)...)[:len(text)])
	}
	counts := map[uint32]int{}
	for _, s := range table.slots {
		counts[s.count]++
	}
	if table.used != 2000 || counts[1] != 1000 || counts[2] != 1000 {
		t.Errorf("%d words, %d of them once and %d twice; want 2000, 1000, 1000", table.used, counts[1], counts[2])
	}
}

type row struct {
	SKU      string  `json:"sku"`
	Brand    string  `json:"brand"`
	Category string  `json:"category"`
	Price    float64 `json:"price"`
	Stock    int64   `json:"stock"`
	Rating   float64 `json:"rating"`
}

func rows(t *testing.T) ([]row, string) {
	r := rand.New(rand.NewPCG(3, 0))
	var rows []row
	var b bytes.Buffer
	for i := range 20_000 {
		p := row{fmt.Sprint("SKU-", i), fmt.Sprint("brand ", r.IntN(9000)), fmt.Sprint("category ", r.IntN(50)), float64(r.IntN(100_000)) / 100, r.Int64N(100), float64(r.IntN(50)) / 10}
		rows = append(rows, p)
		if err := json.NewEncoder(&b).Encode(p); err != nil {
			t.Fatal(err)
		}
	}
	return rows, write(t, "rows", b.String())
}

func whole(x float64, scale float64) int64 { return int64(x*scale + 0.5) }

func TestW2(t *testing.T) {
	in, path := rows(t)
	out := t.TempDir()
	if err := w2(out, []string{path}); err != nil {
		t.Fatal(err)
	}
	type sum struct {
		n, value, tenths, max int64
		brands                map[string]bool
	}
	sums := map[string]*sum{}
	for _, p := range in {
		s := sums[p.Category]
		if s == nil {
			s = &sum{brands: map[string]bool{}}
			sums[p.Category] = s
		}
		cents := whole(p.Price, 100)
		s.n++
		s.value += cents * p.Stock
		s.tenths += whole(p.Rating, 10)
		s.max = max(s.max, cents)
		s.brands[p.Brand] = true
	}
	var lines []string
	for category, s := range sums {
		lines = append(lines, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d", category, s.n, s.value, s.tenths, s.max, len(s.brands)))
	}
	compareLines(t, out, lines)
}

func TestW5(t *testing.T) {
	in, path := rows(t)
	overrides := map[string]int64{}
	csv := "sku,price\n"
	for i := 0; i < 30_000; i += 7 {
		overrides[fmt.Sprint("SKU-", i)] = int64(i)
		csv += fmt.Sprintf("SKU-%d,%d.%02d\n", i, i/100, i%100)
	}
	out := t.TempDir()
	if err := w5(out, []string{write(t, "overrides", csv), path}); err != nil {
		t.Fatal(err)
	}
	type sum struct{ n, value, overridden int64 }
	sums := map[string]sum{}
	for _, p := range in {
		s := sums[p.Brand]
		cents, ok := overrides[p.SKU]
		if ok {
			s.overridden++
		} else {
			cents = whole(p.Price, 100)
		}
		s.n++
		s.value += cents * p.Stock
		sums[p.Brand] = s
	}
	var lines []string
	for brand, s := range sums {
		lines = append(lines, fmt.Sprintf("%s\t%d\t%d\t%d", brand, s.n, s.value, s.overridden))
	}
	compareLines(t, out, lines)
}

func TestW3(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	var files, want []string
	for f := range 3 {
		content := ""
		for range 1000 + f {
			// Few distinct bytes, so that many keys are equal.
			line := strings.Map(func(rune) rune { return ' ' + rune(r.IntN(2)) }, strings.Repeat("x", 11)) + fmt.Sprintf("%088d", r.IntN(10))
			want = append(want, line)
			content += line + "\n"
		}
		files = append(files, write(t, fmt.Sprint(f), content))
	}
	out := t.TempDir()
	if err := w3(out, files); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := read(t, out); got != strings.Join(want, "\n")+"\n" {
		t.Error("the output is not the sorted input")
	}
	if err := w3(t.TempDir(), []string{write(t, "odd", "short\n")}); err == nil {
		t.Error("no error for a file that is not made of records")
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no output (%v)", dir, err)
	}
	var all []byte
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

func compareLines(t *testing.T, dir string, want []string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(read(t, dir), "\n"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got  %s\nwant %s", got[i], want[i])
		}
	}
}
