package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// answers returns the rows of a part of the report.
func answers(t *testing.T, target mapreduce.Target, part int, listings string) (all [][]any) {
	t.Helper()
	rows, err := ask(t.Context(), target, statements[part].text, listings, 5)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range rows.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// money returns an amount of a row in cents.
func money(t *testing.T, v any) Cents {
	t.Helper()
	if x, ok := v.(*big.Rat); ok {
		v = x.FloatString(2)
	}
	return cents(t, fmt.Sprint(v))
}

// checkReport compares the report on the listings with the loop.
func checkReport(t *testing.T, target mapreduce.Target, listings string, want *naive) {
	t.Helper()
	brand := func(x Product) string { return x.Brand }
	// by returns the groups with the highest revenue first.
	by := func(groups map[string][]Product) []string {
		return slices.SortedFunc(maps.Keys(groups), func(a, b string) int { return int(want.revenue(groups[b]) - want.revenue(groups[a])) })
	}
	categories := answers(t, target, 0, listings)
	for i, key := range by(want.categories) {
		in, got := want.categories[key], categories[i]
		if got[0] != key || got[1] != int64(len(in)) || got[2] != distinct(in, brand) || money(t, got[3]) != want.revenue(in) || !quantile(in, 0.5, money(t, got[4])) || !quantile(in, 0.9, money(t, got[5])) {
			t.Errorf("category %s: %v", key, got)
		}
	}
	brands := answers(t, target, 1, listings)
	for i, key := range by(want.brands)[:5] {
		in, got := want.brands[key], brands[i]
		best := slices.MaxFunc(in, func(a, b Product) int { return int(a.Revenue() - b.Revenue()) })
		if got[0] != key || got[1] != int64(len(in)) || got[2] != distinct(in, category) || money(t, got[3]) != want.revenue(in) || !quantile(in, 0.5, money(t, got[4])) || got[5] != best.Title {
			t.Errorf("brand %s: %v", key, got)
		}
	}
	products := answers(t, target, 2, listings)
	best := slices.SortedStableFunc(slices.Values(want.products), func(a, b Product) int { return int(b.Revenue() - a.Revenue()) })
	for i, got := range products {
		if money(t, got[3]) != best[i].Revenue() {
			t.Errorf("product %d is %v, want %s with %v", i, got, best[i].SKU, best[i].Revenue())
		}
	}
	if len(categories) != len(want.categories) || len(brands) != 5 || len(products) != 5 {
		t.Errorf("%d categories, %d brands, %d products", len(categories), len(brands), len(products))
	}
}

// checkListings reads the output with encoding/json.
func checkListings(t *testing.T, out string, want *naive) {
	t.Helper()
	left, medians := map[string]Product{}, map[string]Cents{}
	for _, x := range want.products {
		left[x.SKU] = x
	}
	for name, text := range tree(t, out) {
		if name == "manifest.json" {
			continue
		}
		for line := range bytes.Lines(text) {
			var got struct {
				Product
				Price  json.Number `json:"price"`
				Median json.Number `json:"category_median"`
				Level  float64     `json:"price_level"`
			}
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			x, ok := left[got.SKU]
			delete(left, got.SKU)
			median := cents(t, got.Median.String())
			if !ok || got.Title != x.Title || cents(t, got.Price.String()) != x.Price || !got.UpdatedAt.Equal(x.UpdatedAt) || fmt.Sprint(got.Attributes) != fmt.Sprint(x.Attributes) {
				t.Fatalf("listing %s, want %+v", line, x)
			}
			if _, ok := medians[x.Category]; !ok && quantile(want.categories[x.Category], 0.5, median) {
				medians[x.Category] = median
			}
			if median != medians[x.Category] || math.Abs(got.Level-float64(x.Price)/float64(median)) > 0.001 {
				t.Fatalf("listing %s: median or level is wrong", line)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("%d products have no listing", len(left))
	}
}
