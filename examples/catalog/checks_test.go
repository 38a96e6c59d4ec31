package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"github.com/layshaft/layshaft/mapreduce"
	"math"
	"slices"
	"testing"
)

// rows returns the rows of a named output.
func rows[T any](t *testing.T, job *mapreduce.Job, name string) (all []T) {
	t.Helper()
	for row, err := range mapreduce.Rows[T](job, name) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

func checkCategories(t *testing.T, job *mapreduce.Job, want *naive) {
	t.Helper()
	got := rows[categoryLine](t, job, "categories")
	if len(got) != len(want.categories) {
		t.Errorf("%d categories, want %d", len(got), len(want.categories))
	}
	for i, c := range got {
		in := want.categories[c.Key]
		exact := CategoryStats{int64(len(in)), distinct(in, brand), want.revenue(in), c.Value.Median, c.Value.P90}
		if c.Value != exact || !quantile(in, 0.5, c.Value.Median) || !quantile(in, 0.9, c.Value.P90) {
			t.Errorf("category %s = %+v, want %+v", c.Key, c.Value, exact)
		}
		if i > 0 && c.Value.Revenue > got[i-1].Value.Revenue {
			t.Errorf("category %s comes after one with less revenue", c.Key)
		}
	}
}

func checkBrands(t *testing.T, job *mapreduce.Job, want *naive) {
	t.Helper()
	var revenues []Cents
	for _, in := range want.brands {
		revenues = append(revenues, want.revenue(in))
	}
	slices.Sort(revenues)
	slices.Reverse(revenues)
	got := rows[brandLine](t, job, "brands")
	if len(got) != 5 {
		t.Fatalf("%d brands, want the top 5", len(got))
	}
	for i, b := range got {
		in := want.brands[b.Key]
		best := slices.MaxFunc(in, func(a, b Product) int { return int(a.Revenue() - b.Revenue()) })
		exact := BrandStats{int64(len(in)), distinct(in, category), revenues[i], b.Value.Median, b.Value.P90, best.Title}
		if b.Value != exact || !quantile(in, 0.5, b.Value.Median) || !quantile(in, 0.9, b.Value.P90) {
			t.Errorf("brand %s = %+v, want %+v", b.Key, b.Value, exact)
		}
	}
}

func checkProducts(t *testing.T, job *mapreduce.Job, want *naive) {
	t.Helper()
	best := slices.SortedStableFunc(slices.Values(want.products), func(a, b Product) int { return int(b.Revenue() - a.Revenue()) })
	got := rows[Product](t, job, "products")
	if len(got) != 5 {
		t.Fatalf("%d products, want the top 5", len(got))
	}
	for i := range got {
		if got[i].Revenue() != best[i].Revenue() {
			t.Errorf("product %d is %s with %v, want %s with %v", i, got[i].SKU, got[i].Revenue(), best[i].SKU, best[i].Revenue())
		}
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
