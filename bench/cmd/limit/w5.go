package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/layshaft/layshaft/bench/internal/product"
)

// prices are the overrides by stock-keeping unit.
type prices struct {
	skus  *names
	cents []int64 // by number of the SKU
}

// readPrices reads a CSV file of two columns without quotes, the price with two decimals, below a
// header.
func readPrices(path string) (*prices, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &prices{skus: newNames(1 << 18)}
	_, b, _ = bytes.Cut(b, []byte("\n"))
	for line := range bytes.Lines(b) {
		sku, price, _ := bytes.Cut(line, []byte(","))
		var cents int64
		for _, digit := range bytes.TrimSpace(price) {
			if digit != '.' {
				cents = cents*10 + int64(digit-'0')
			}
		}
		p.skus.number(sku)
		p.cents = append(p.cents, cents)
	}
	return p, nil
}

// brands is a report by brand.
type brands struct {
	brand *names
	sums  []brandSum // by number of the brand
}

type brandSum struct{ n, value, overridden int64 }

func (b *brands) sum(brand []byte) *brandSum {
	n := b.brand.number(brand)
	if n == len(b.sums) {
		b.sums = append(b.sums, brandSum{})
	}
	return &b.sums[n]
}

func (b *brands) addLines(lines []byte, overrides *prices) {
	var p product.Product
	for i := 0; i < len(lines); {
		i = product.Parse(lines, i, product.SKU|product.Brand|product.Price|product.Stock, &p)
		s := b.sum(p.Brand)
		if n := overrides.skus.find(p.SKU); n >= 0 {
			p.Cents = overrides.cents[n]
			s.overridden++
		}
		s.n++
		s.value += p.Cents * p.Stock
	}
}

func (b *brands) merge(o *brands) {
	for n, from := range o.sums {
		s := b.sum([]byte(o.brand.keys[n]))
		s.n += from.n
		s.value += from.value
		s.overridden += from.overridden
	}
}

// w5 applies override prices and reports by brand: products, sum of price times stock in cents,
// overridden products.
func w5(out string, files []string) error {
	return reportBrands(out, files, "", func(o io.Writer, brand string, s brandSum) {
		fmt.Fprintf(o, "%s\t%d\t%d\t%d\n", brand, s.n, s.value, s.overridden)
	})
}

// w5SQL writes CSV as a report does.
func w5SQL(out string, files []string) error {
	return reportBrands(out, files, "brand,n,value,overridden\n", func(o io.Writer, brand string, s brandSum) {
		fmt.Fprintf(o, "%s,%d,%d.%02d,%d\n", brand, s.n, s.value/100, s.value%100, s.overridden)
	})
}

func reportBrands(out string, files []string, header string, write func(o io.Writer, brand string, s brandSum)) error {
	overrides, err := readPrices(files[0])
	if err != nil {
		return err
	}
	parts := make([]*brands, workers)
	for w := range parts {
		parts[w] = &brands{brand: newNames(1 << 14)}
	}
	if err := eachChunk(files[1:], func(w int, lines []byte) { parts[w].addLines(lines, overrides) }); err != nil {
		return err
	}
	all := parts[0]
	for _, part := range parts[1:] {
		all.merge(part)
	}
	f, err := create(out, "part-00")
	if err != nil {
		return err
	}
	defer f.Close()
	o := bufio.NewWriter(f)
	fmt.Fprint(o, header)
	for n, s := range all.sums {
		write(o, all.brand.keys[n], s)
	}
	return o.Flush()
}
