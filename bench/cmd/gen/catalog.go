package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// catalogSet is the source of random products: 5,000 brands and 800 categories, few of them
// frequent.
type catalogSet struct {
	words, brands, categories, attributes []string

	title, brand, category *weighted
}

func newCatalog() *catalogSet {
	words := vocabulary(20_000, stream(2))
	r := stream(3)
	c := &catalogSet{words: words}
	for i := range 5000 {
		company := []string{"", " & Co", " GmbH", "tec", " Ltd", ""}[r.IntN(6)]
		c.brands = append(c.brands, capital(words[(i*3+7)%len(words)])+company+strconv.Itoa(i%97))
	}
	for i := range 20 * 8 * 5 {
		c.categories = append(c.categories, capital(words[100+i/40])+"/"+capital(words[200+i/5])+"/"+capital(words[500+i]))
	}
	r.Shuffle(len(c.categories), func(i, j int) { c.categories[i], c.categories[j] = c.categories[j], c.categories[i] })
	for i := range 40 {
		c.attributes = append(c.attributes, words[1000+i*11])
	}
	c.title, c.brand, c.category = newZipf(len(words)), newZipf(len(c.brands)), newZipf(len(c.categories))
	return c
}

func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// product is one row of the catalogue.
type product struct {
	id              int
	title           []byte
	brand, category string
	cents           int64
	currency        string
	stock, rating   int // rating in tenths
	attributes      [][2]string
	updated         string
}

// draw fills p. The order of the draws is part of the data.
func (c *catalogSet) draw(r *rand.Rand, p *product) {
	p.title = p.title[:0]
	for i := range 3 + r.IntN(4) {
		if i > 0 {
			p.title = append(p.title, ' ')
		}
		p.title = append(p.title, c.words[c.title.draw(r)]...)
	}
	switch r.IntN(50) {
	case 0: // an inch mark, which JSON and CSV must escape
		p.title = append(p.title, ` 27"`...)
	case 1: // a letter of two bytes
		p.title = append(p.title, " café"...)
	}
	p.brand, p.category = c.brands[c.brand.draw(r)], c.categories[c.category.draw(r)]
	p.cents = min(int64(math.Exp(r.NormFloat64()*1.2+8))+1, 99_999_999)
	p.currency = []string{"EUR", "EUR", "EUR", "USD", "GBP"}[r.IntN(5)]
	p.stock, p.rating = r.IntN(500), 10+r.IntN(41)
	p.attributes = p.attributes[:0]
	n, first := 3+r.IntN(4), r.IntN(len(c.attributes))
	for i := range n {
		p.attributes = append(p.attributes, [2]string{c.attributes[(first+i*7)%len(c.attributes)], c.words[r.IntN(3000)]})
	}
	p.updated = fmt.Sprintf("2024-%02d-%02dT%02d:%02d:%02dZ", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60))
}

// write writes the products from one id to another as JSON lines and as CSV.
func (c *catalogSet) write(json, csv io.Writer, part, from, to int) error {
	r := stream(1000 + uint64(part))
	if _, err := io.WriteString(csv, "id,sku,title,brand,category,price,currency,stock,rating,attributes,updated_at\n"); err != nil {
		return err
	}
	var p product
	var row []byte
	for p.id = from; p.id < to; p.id++ {
		c.draw(r, &p)
		row = p.appendJSON(row[:0])
		if _, err := json.Write(row); err != nil {
			return err
		}
		row = p.appendCSV(row[:0])
		if _, err := csv.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func (p *product) appendJSON(b []byte) []byte {
	b = fmt.Appendf(b, `{"id":%d,"sku":"%s","title":"%s","brand":"%s","category":"%s","price":`,
		p.id, sku(p.id), bytes.ReplaceAll(p.title, []byte(`"`), []byte(`\"`)), p.brand, p.category)
	b = appendPrice(b, p.cents)
	b = fmt.Appendf(b, `,"currency":"%s","stock":%d,"rating":%d.%d,"attributes":{`, p.currency, p.stock, p.rating/10, p.rating%10)
	for i, a := range p.attributes {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"%s":"%s"`, a[0], a[1])
	}
	return fmt.Appendf(b, "},\"updated_at\":\"%s\"}\n", p.updated)
}

func (p *product) appendCSV(b []byte) []byte {
	b = fmt.Appendf(b, `%d,%s,"%s",%s,%s,`, p.id, sku(p.id), bytes.ReplaceAll(p.title, []byte(`"`), []byte(`""`)), p.brand, p.category)
	b = appendPrice(b, p.cents)
	b = fmt.Appendf(b, `,%s,%d,%d.%d,"`, p.currency, p.stock, p.rating/10, p.rating%10)
	for i, a := range p.attributes {
		if i > 0 {
			b = append(b, ';')
		}
		b = fmt.Appendf(b, "%s=%s", a[0], a[1])
	}
	return fmt.Appendf(b, "\",%s\n", p.updated)
}

// sku returns the stock-keeping unit of a product. Distinct ids have distinct units, in no
// visible order.
func sku(id int) string {
	return fmt.Sprintf("SKU-%07X-%03d", uint64(id)*2654435761&0xfffffff, id%1000)
}

func appendPrice(b []byte, cents int64) []byte {
	return fmt.Appendf(b, "%d.%02d", cents/100, cents%100)
}

// writeOverrides writes new prices for n of the products with an id below products.
func writeOverrides(w io.Writer, products, n int) error {
	r := stream(5000)
	if _, err := io.WriteString(w, "sku,price\n"); err != nil {
		return err
	}
	seen := map[int]bool{}
	for len(seen) < n {
		id := r.IntN(products)
		if seen[id] {
			continue
		}
		seen[id] = true
		row := append(appendPrice(append([]byte(sku(id)), ','), 100+int64(r.IntN(100_000))), '\n')
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}
