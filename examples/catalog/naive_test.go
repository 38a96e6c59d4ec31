package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// naive is the pipeline as a loop over everything in memory.
type naive struct {
	products           []Product // the clean ones
	bad                int
	unbranded          int64
	categories, brands map[string][]Product
}

// naively reads the catalogue in dir with the standard library and does what the pipeline should
// do.
func naively(t *testing.T, dir string) *naive {
	t.Helper()
	prices := map[string]Cents{}
	f, err := os.Open(pricesFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		prices[row[0]] = cents(t, row[1])
	}
	names, err := filepath.Glob(filepath.Join(productsDir(dir), "part-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := &naive{categories: map[string][]Product{}, brands: map[string][]Product{}}
	latest := map[string]int{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			var raw struct {
				Product
				Price json.Number `json:"price"`
			}
			if err := json.Unmarshal(lines.Bytes(), &raw); err != nil {
				t.Fatal(err)
			}
			x := raw.Product
			x.Price = cents(t, raw.Price.String())
			x.Title, x.Currency, x.Stock = strings.TrimSpace(x.Title), strings.ToUpper(x.Currency), max(0, x.Stock)
			if x.Brand == "" {
				x.Brand = "(none)"
				n.unbranded++
			}
			rate := rates[x.Currency]
			if rate == 0 || x.Price <= 0 {
				n.bad++
				continue
			}
			x.Price, x.Currency = Cents(math.Round(float64(x.Price)*rate)), "EUR"
			if p, ok := prices[x.SKU]; ok {
				x.Price = p
			}
			if i, ok := latest[x.SKU]; !ok {
				latest[x.SKU] = len(n.products)
				n.products = append(n.products, x)
			} else if x.UpdatedAt.After(n.products[i].UpdatedAt) {
				n.products[i] = x
			}
		}
	}
	for _, x := range n.products {
		n.categories[x.Category] = append(n.categories[x.Category], x)
		n.brands[x.Brand] = append(n.brands[x.Brand], x)
	}
	return n
}

func cents(t *testing.T, s string) Cents {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return Cents(math.Round(100 * f))
}

func (n *naive) revenue(products []Product) (sum Cents) {
	for _, x := range products {
		sum += x.Revenue()
	}
	return sum
}

// quantile reports whether got is a p-quantile of the prices, as near as a sketch comes to it.
func quantile(products []Product, p float64, got Cents) bool {
	var prices []Cents
	for _, x := range products {
		prices = append(prices, x.Price)
	}
	slices.Sort(prices)
	want := float64(prices[int(math.Ceil(p*float64(len(prices))))-1])
	return math.Abs(float64(got)-want) <= 1+0.0079*want
}

func distinct(products []Product, of func(Product) string) int64 {
	seen := map[string]bool{}
	for _, x := range products {
		seen[of(x)] = true
	}
	return int64(len(seen))
}
