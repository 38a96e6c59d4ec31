package product

import (
	"fmt"
	"testing"
)

func TestParse(t *testing.T) {
	const first = `{"id":7,"sku":"SKU-1","title":"tube 27\" \\","brand":"Acme & Co","category":"A/B/C","price":12.30,"stock":4,"rating":3.5,"attributes":{"a":"}","b":["]",{"c":"\""}]},"price_old":99.99}`
	const second = `{ "stock": 12, "rating": 4, "price": 7.5, "attributes": {}, "brand": "B", "sku": "S", "category": "" }`
	tests := []struct {
		line string
		want Fields
		out  string
	}{
		{first, SKU | Brand | Category | Price | Stock | Rating, "SKU-1 Acme & Co A/B/C 1230 4 35"},
		{first, Brand | Stock, " Acme & Co  0 4 0"},
		{first, 0, "   0 0 0"},
		{second, SKU | Brand | Category | Price | Stock | Rating, "S B  750 12 40"},
		{`{"price":3}`, Price | SKU, "   300 0 0"},
		{`{}`, Price, "   0 0 0"},
	}
	for _, test := range tests {
		var p Product
		b := []byte(test.line + "\n" + second)
		next := Parse(b, 0, test.want, &p)
		if next != len(test.line)+1 {
			t.Errorf("%s: the next line starts at %d, want %d", test.line, next, len(test.line)+1)
		}
		if got := fmt.Sprintf("%s %s %s %d %d %d", p.SKU, p.Brand, p.Category, p.Cents, p.Stock, p.Tenths); got != test.out {
			t.Errorf("%s, fields %b:\ngot  %s\nwant %s", test.line, test.want, got, test.out)
		}
		if end := Parse(b, next, test.want, &p); end != len(b) {
			t.Errorf("%s: the last line ends at %d, want %d", second, end, len(b))
		}
	}
}
