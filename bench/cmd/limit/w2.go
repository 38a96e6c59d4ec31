package main

import (
	"bufio"
	"fmt"
	"io"
	"math/bits"

	"github.com/layshaft/layshaft/bench/internal/product"
)

// categories is a report by category. Brands and categories have numbers; a set of brands is a
// bitmap of numbers.
type categories struct {
	brand, category *names
	sums            []categorySum // by number of the category
}

type categorySum struct {
	n, value, tenths, max int64
	brands                []uint64
}

func newCategories() *categories {
	return &categories{brand: newNames(1 << 14), category: newNames(1 << 12)}
}

func (c *categories) sum(category []byte) *categorySum {
	n := c.category.number(category)
	if n == len(c.sums) {
		c.sums = append(c.sums, categorySum{brands: make([]uint64, 96)})
	}
	return &c.sums[n]
}

func (s *categorySum) addBrand(n int) {
	for n>>6 >= len(s.brands) {
		s.brands = append(s.brands, 0)
	}
	s.brands[n>>6] |= 1 << (n & 63)
}

func (c *categories) addLines(lines []byte) {
	var p product.Product
	for i := 0; i < len(lines); {
		i = product.Parse(lines, i, product.Brand|product.Category|product.Price|product.Stock|product.Rating, &p)
		c.add(&p)
	}
}

// addCSV adds rows in the order of the columns of the catalogue. Only titles have quotes before the
// last wanted column.
func (c *categories) addCSV(lines []byte) {
	var p product.Product
	for i := 0; i < len(lines); {
		i = product.ParseCSV(lines, i, &p)
		if p.Category != nil {
			c.add(&p)
		}
	}
}

func (c *categories) add(p *product.Product) {
	s := c.sum(p.Category)
	s.n++
	s.value += p.Cents * p.Stock
	s.tenths += p.Tenths
	s.max = max(s.max, p.Cents)
	s.addBrand(c.brand.number(p.Brand))
}

func (c *categories) merge(o *categories) {
	for n, from := range o.sums {
		s := c.sum([]byte(o.category.keys[n]))
		s.n += from.n
		s.value += from.value
		s.tenths += from.tenths
		s.max = max(s.max, from.max)
		for i, set := range from.brands {
			for ; set != 0; set &= set - 1 {
				s.addBrand(c.brand.number([]byte(o.brand.keys[i*64+bits.TrailingZeros64(set)])))
			}
		}
	}
}

// w2 reports by category: products, sum of price times stock in cents, sum of ratings in tenths,
// highest price, distinct brands.
func w2(out string, files []string) error {
	return reportCategories(out, files, (*categories).addLines, "", writeCategory)
}

func writeCategory(o io.Writer, category string, s *categorySum, brands int) {
	fmt.Fprintf(o, "%s\t%d\t%d\t%d\t%d\t%d\n", category, s.n, s.value, s.tenths, s.max, brands)
}

// w2SQL writes CSV as a report does.
func w2SQL(out string, files []string) error {
	return reportCategories(out, files, (*categories).addLines, "category,n,value,ratings,price,brands\n", func(o io.Writer, category string, s *categorySum, brands int) {
		fmt.Fprintf(o, "%s,%d,%d.%02d,%d.%d,%d.%02d,%d\n", category, s.n, s.value/100, s.value%100, s.tenths/10, s.tenths%10, s.max/100, s.max%100, brands)
	})
}

// w2CSV is w2 from CSV.
func w2CSV(out string, files []string) error {
	return reportCategories(out, files, (*categories).addCSV, "", writeCategory)
}

func reportCategories(out string, files []string, add func(c *categories, lines []byte), header string, write func(o io.Writer, category string, s *categorySum, brands int)) error {
	parts := make([]*categories, workers)
	for w := range parts {
		parts[w] = newCategories()
	}
	if err := eachChunk(files, func(w int, lines []byte) { add(parts[w], lines) }); err != nil {
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
		brands := 0
		for _, set := range s.brands {
			brands += bits.OnesCount64(set)
		}
		write(o, all.category.keys[n], &s, brands)
	}
	return o.Flush()
}
