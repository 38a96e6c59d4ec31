package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// generated makes a catalogue of n lines in a directory of the test.
func generated(t testing.TB, n int64, target mapreduce.Target) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := Generate.Collect(context.Background(), target, GenerateParams{n, 7, dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestGenerate makes the same catalogue with few slots and with many.
func TestGenerate(t *testing.T) {
	const n = productsPerFile + 1
	want := tree(t, generated(t, n, mapreduce.Local{Slots: 1}))
	if len(want) != 4 { // two product files, their manifest, the price file
		t.Errorf("%d files, want 4", len(want))
	}
	got := tree(t, generated(t, n, mapreduce.Local{Workers: 2, Slots: 7}))
	for name, b := range want {
		if !strings.HasSuffix(name, "manifest.json") && !bytes.Equal(got[name], b) { // a manifest names its job
			t.Errorf("%s differs between 1 and 7 slots", name)
		}
	}
}

// tree returns the contents of the files below dir by relative path.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		all[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCatalog compares the pipeline with a loop over the same 20,000 lines.
func TestCatalog(t *testing.T) {
	n := int64(20_000)
	if testing.Short() {
		n = 5000
	}
	dir := generated(t, n, mapreduce.Local{})
	want := naively(t, dir)
	if want.bad == 0 || want.unbranded == 0 || int64(len(want.products)) != distinct(want.products, sku) || int64(len(want.products)+want.bad) == n {
		t.Fatalf("the catalogue lacks bad, unbranded or repeated lines: %d products, %d bad", len(want.products), want.bad)
	}
	for _, target := range []mapreduce.Local{{Slots: 1}, {Workers: 3, Slots: 4}, {Slots: 2, Verify: true}} {
		t.Run(fmt.Sprintf("workers=%d/slots=%d/verify=%v", target.Workers, target.Slots, target.Verify), func(t *testing.T) {
			target.Quarantine = filepath.Join(t.TempDir(), "bad.jsonl")
			out := filepath.Join(t.TempDir(), "listings")
			job, err := Catalog.Start(context.Background(), target, Params{Products: productsDir(dir), Prices: pricesFile(dir), Out: out, Rates: rates})
			if err != nil {
				t.Fatal(err)
			}
			defer job.Close()
			if err := job.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := job.Counters()["brand was missing"]; got != want.unbranded {
				t.Errorf("counter of missing brands = %d, want %d", got, want.unbranded)
			}
			if bad, err := os.ReadFile(target.Quarantine); err != nil || bytes.Count(bad, []byte("\n")) != want.bad {
				t.Errorf("%d records in quarantine, want %d (%v)", bytes.Count(bad, []byte("\n")), want.bad, err)
			}
			checkListings(t, out, want)
			if !target.Verify {
				checkReport(t, target, out, want)
			}
		})
	}
}

// TestCatalog_tooBad stops at a catalogue of which more than the allowed share is bad.
func TestCatalog_tooBad(t *testing.T) {
	dir := generated(t, 1000, mapreduce.Local{})
	params := Params{Products: productsDir(dir), Prices: pricesFile(dir), Out: filepath.Join(dir, "out"), Rates: map[string]float64{"EUR": 1}} // no dollars, no pounds
	_, err := Catalog.Collect(context.Background(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "bad.jsonl")}}, params)
	if err == nil || !strings.Contains(err.Error(), "MaxBadShare") || !strings.Contains(err.Error(), "bad.jsonl") {
		t.Errorf("error %v, want one that names MaxBadShare and the quarantine file", err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "out", "*")); len(names) > 0 {
		t.Errorf("a failed run left %v", names)
	}
}

// A report on a small catalogue, from Go.
func Example() {
	dir, err := os.MkdirTemp("", "catalog")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx, target := context.Background(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "bad.jsonl")}}
	if _, err := Generate.Collect(ctx, target, GenerateParams{N: 1000, Seed: 1, Dir: dir}); err != nil {
		fmt.Println(err)
		return
	}
	params := Params{Products: productsDir(dir), Prices: pricesFile(dir), Out: filepath.Join(dir, "listings"), Rates: rates}
	if _, err := Catalog.Collect(ctx, target, params); err != nil {
		fmt.Println(err)
		return
	}
	rows, err := report.Query(ctx, target, "SELECT brand, count(*) AS products, sum(price * stock) AS revenue FROM '"+params.Out+"' GROUP BY brand ORDER BY revenue DESC LIMIT 3")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rows.Write(os.Stdout, "csv", report.WriteOptions{}))
	// Output:
	// brand,products,revenue
	// Velax,62,482828.24
	// Norax,83,424855.63
	// Torax,52,372636.45
	// <nil>
}
