package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// GenerateParams determine the generated files, to the byte.
type GenerateParams struct {
	N    int64  // number of product lines
	Seed uint64 // another seed makes another catalogue
	Dir  string // directory of products/part-*.jsonl and prices.csv
}

// productsPerFile is the number of lines per file. It is fixed, so that the files do not depend on
// the number of slots.
const productsPerFile = 50_000

// Generate writes a catalogue for tests and first steps. It is a pipeline too. Each line is made
// from its index alone, so any number of slots makes the same files.
var Generate = mapreduce.Define("catalog-generate", func(p *mapreduce.Plan, in GenerateParams) mapreduce.Dataset[mapreduce.None] {
	files := int((in.N + productsPerFile - 1) / productsPerFile)
	products := mapreduce.Read(p, memio.Generate(in.N, func(i int64) Product { return product(in.Seed, i) }).Cut(files))
	products.WriteTo(jsonio.Write[Product](productsDir(in.Dir)))

	// One product in 25 is on sale.
	overrides := mapreduce.Read(p, memio.Generate(in.N/25, func(i int64) Override {
		x := product(in.Seed, 25*i)
		return Override{x.SKU, max(99, x.Price*4/5)}
	}))
	overrides.WriteTo(csvio.WriteFile[Override](pricesFile(in.Dir)))
	return mapreduce.Nothing(p)
})

func productsDir(dir string) string { return filepath.Join(dir, "products") }
func pricesFile(dir string) string  { return filepath.Join(dir, "prices.csv") }

// product makes line i. A few lines have errors, as in every real catalogue.
func product(seed uint64, i int64) Product {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	c := assortment[zipf(r, len(assortment))]
	brand := brandName(zipf(r, 2000))
	noun := c.nouns[r.IntN(len(c.nouns))]
	color := colors[r.IntN(len(colors))]
	x := Product{
		ID:         i + 1,
		SKU:        productSKU(i),
		Title:      fmt.Sprintf("%s %s %s %c%d", brand, noun, color, 'A'+rune(r.IntN(26)), 100*(1+r.IntN(9))),
		Brand:      brand,
		Category:   c.name,
		Price:      max(99, Cents(float64(c.typical)*math.Exp(0.8*r.NormFloat64()))/100*100-1),
		Currency:   "EUR",
		Stock:      int64(r.ExpFloat64() * 40),
		Rating:     math.Round(10*(1+4*math.Sqrt(r.Float64()))) / 10,
		Attributes: map[string]string{"color": color, "weight_g": fmt.Sprint(50 + r.IntN(5000)), "warranty": fmt.Sprintf("%d months", 12*(1+r.IntN(5)))},
		UpdatedAt:  time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(300*24*3600)) * time.Second),
	}
	switch r.IntN(10) {
	case 0:
		x.Currency, x.Price = "USD", x.Price*11/10
	case 1:
		x.Currency, x.Price = "GBP", x.Price*9/10
	}
	if i >= 100 && r.IntN(50) == 0 { // a second line for an earlier product
		x.SKU = productSKU(i - 1 - r.Int64N(100))
	}
	switch k := r.IntN(1000); {
	case k < 4:
		x.Price = -x.Price
	case k < 8:
		x.Currency = "XXX"
	case k < 20:
		x.Brand = ""
	case k < 30:
		x.Currency = "eur"
	case k < 40:
		x.Title = "  " + x.Title + " "
	case k < 50:
		x.Stock = -1 - int64(r.IntN(5))
	}
	return x
}

func productSKU(i int64) string { return fmt.Sprintf("LS-%08d", i+1) }

// zipf draws from 0 to n-1. A few numbers come often and most come rarely, like the brands and
// categories of a shop.
func zipf(r *rand.Rand, n int) int { return int(rand.NewZipf(r, 1.2, 3, uint64(n-1)).Uint64()) }

// brandName makes a name from a number.
func brandName(n int) string {
	first := []string{"Nor", "Vel", "Tor", "Kas", "Lum", "Bri", "Hal", "Or", "Sil", "Quen"}
	middle := []string{"a", "di", "ro", "e", "mo", "ti", "ka", "u", "le", "ni"}
	last := []string{"x", "ton", "va", "lia", "rix", "dan", "sen", "tec", "mar", "lo"}
	name := first[n%10] + middle[n/10%10] + last[n/100%10]
	if n >= 1000 {
		name += " " + string(rune('A'+n/1000-1))
	}
	return name
}

var colors = []string{"black", "white", "silver", "red", "blue", "green", "sand", "oak"}

// assortment lists the categories in order of size, each with a typical price.
var assortment = []struct {
	name    string
	typical Cents
	nouns   []string
}{
	{"Electronics > Phones", 39900, []string{"phone", "phone mini", "phone max"}},
	{"Electronics > Audio", 7900, []string{"headphones", "earbuds", "speaker", "soundbar"}},
	{"Home > Kitchen", 3900, []string{"pan", "kettle", "blender", "knife set", "toaster"}},
	{"Fashion > Shoes", 6900, []string{"sneaker", "boot", "sandal"}},
	{"Toys", 1900, []string{"puzzle", "kite", "train set", "doll"}},
	{"Home > Furniture", 18900, []string{"chair", "desk", "shelf", "sofa"}},
	{"Garden", 2900, []string{"hose", "spade", "planter", "lantern"}},
	{"Sports > Cycling", 24900, []string{"city bike", "helmet", "pump", "saddle"}},
	{"Tools", 5900, []string{"drill", "saw", "hammer", "level"}},
	{"Books > Maps", 1200, []string{"atlas", "city map", "globe"}},
	{"Pets", 1500, []string{"lead", "basket", "scratching post"}},
	{"Office", 900, []string{"notebook", "pen", "stapler", "folder"}},
}
