package jsoncodec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

type wanted struct {
	Category string `json:"category"`
	Brand    string `json:"brand"`
	Price    int64  `json:"price" decimal:"2"`
	Stock    int64  `json:"stock"`
	Rating   int64  `json:"rating" decimal:"1"`
}

type wantedFloat struct {
	Category string  `json:"category"`
	Brand    string  `json:"brand"`
	Price    int64   `json:"price" decimal:"2"`
	Stock    int64   `json:"stock"`
	Rating   float64 `json:"rating"`
}

type full struct {
	ID         int64             `json:"id"`
	SKU        string            `json:"sku"`
	Title      string            `json:"title"`
	Brand      string            `json:"brand"`
	Category   string            `json:"category"`
	Price      float64           `json:"price"`
	Currency   string            `json:"currency"`
	Stock      int64             `json:"stock"`
	Rating     float64           `json:"rating"`
	Attributes map[string]string `json:"attributes"`
	Updated    string            `json:"updated_at"`
}

type ends struct {
	ID      int64  `json:"id"`
	Updated string `json:"updated_at"`
}

// catalog returns lines like a shop's export, followed by readable padding.
func catalog(size int) []byte {
	if name := os.Getenv("CATALOG"); name != "" {
		b, _ := os.ReadFile(name)
		b = b[:min(size, len(b))]
		b = b[:bytes.LastIndexByte(b, '\n')+1]
		return append(b, make([]byte, Padding)...)[:len(b)]
	}
	r := rand.New(rand.NewPCG(1, 0))
	word := func() string {
		return strings.Repeat("abcdefghijklmnop", 1)[:2+r.IntN(9)]
	}
	var b []byte
	for id := 0; len(b) < size; id++ {
		b = fmt.Appendf(b, `{"id":%d,"sku":"SKU-%07X-%03d","title":"%s %s %s %s`, id, r.IntN(1<<28), id%1000, word(), word(), word(), word())
		if id%50 == 0 {
			b = append(b, ` 27\"`...)
		}
		b = fmt.Appendf(b, `","brand":"%s%d","category":"%s/%s/%s","price":%d.%02d,"currency":"EUR","stock":%d,"rating":%d.%d,"attributes":{`,
			word(), r.IntN(97), word(), word(), word(), r.IntN(1<<(1+r.IntN(12))), r.IntN(100), r.IntN(500), 1+r.IntN(4), r.IntN(10))
		for k := range 3 + r.IntN(4) {
			if k > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, `"%s":"%s"`, word(), word())
		}
		b = fmt.Appendf(b, `},"updated_at":"2024-%02d-%02dT%02d:%02d:00Z"}`+"\n", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60))
	}
	return append(b, make([]byte, Padding)...)[:len(b)]
}

func lines(b []byte, each func(line []byte)) (n int) {
	for i := 0; i < len(b); n++ {
		j := bytes.IndexByte(b[i:], '\n')
		each(b[i : i+j])
		i += j + 1
	}
	return n
}

// benchDecode measures both forms of a decoder.
func benchDecode[T any](b *testing.B, data []byte, of func(*T) int64) {
	b.Run("checked", func(b *testing.B) { benchDecoder(b, data, of, false) })
	b.Run("loose", func(b *testing.B) { benchDecoder(b, data, of, true) })
}

func benchDecoder[T any](b *testing.B, data []byte, of func(*T) int64, loose bool) {
	d, err := NewDecoder(reflect.TypeFor[T]())
	if err != nil {
		b.Fatal(err)
	}
	d.Loose = loose
	rec := new(T)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n += lines(data, func(line []byte) {
			if err := d.Decode(line, unsafe.Pointer(rec)); err != nil {
				b.Fatal(err)
			}
			sum += of(rec)
		})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}

// sum keeps what is read in use.
var sum int64

func BenchmarkDecode(b *testing.B) {
	data := catalog(64 << 20)
	b.Run("five", func(b *testing.B) {
		benchDecode(b, data, func(w *wanted) int64 {
			return w.Price + w.Stock + w.Rating + int64(len(w.Brand)+len(w.Category))
		})
	})
	b.Run("float", func(b *testing.B) {
		benchDecode(b, data, func(w *wantedFloat) int64 {
			return w.Price + w.Stock + int64(len(w.Brand)+len(w.Category))
		})
	})
	b.Run("handwritten", func(b *testing.B) {
		n, w := 0, new(wanted)
		for b.Loop() {
			n += lines(data, func(line []byte) {
				if !handwritten(line, w) {
					b.Fatal("not found")
				}
				sum += w.Price + w.Stock + w.Rating + int64(len(w.Brand)+len(w.Category))
			})
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	})
	b.Run("ends", func(b *testing.B) { benchDecode(b, data, func(w *ends) int64 { return w.ID }) })
	b.Run("full", func(b *testing.B) { benchDecode(b, data, func(w *full) int64 { return w.ID }) })
	b.Run("any", func(b *testing.B) { benchDecode(b, data, func(w *map[string]any) int64 { return 0 }) })
	b.Run("line", func(b *testing.B) { benchDecode(b, data, func(w *string) int64 { return 0 }) })
	b.Run("encoding-json", func(b *testing.B) {
		type plain struct {
			Category string  `json:"category"`
			Brand    string  `json:"brand"`
			Price    float64 `json:"price"`
			Stock    int64   `json:"stock"`
			Rating   float64 `json:"rating"`
		}
		n := 0
		for b.Loop() {
			n += lines(data[:bytes.LastIndexByte(data[:1<<20], '\n')+1], func(line []byte) {
				var p plain
				if err := json.Unmarshal(line, &p); err != nil {
					b.Fatal(err)
				}
			})
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	})
}

func BenchmarkEncode(b *testing.B) {
	x := full{ID: 123456, SKU: "SKU-0000123-456", Title: "some words of a title", Brand: "Brand12", Category: "One/Two/Three", Price: 12.34, Currency: "EUR", Stock: 17, Rating: 4.5,
		Attributes: map[string]string{"colour": "red", "size": "xl", "weight": "3kg"}, Updated: "2024-07-04T01:55:31Z"}
	w := wanted{"One/Two/Three", "Brand12", 1234, 17, 45}
	buf := make([]byte, 0, 1000)
	run := func(name string, t reflect.Type, p unsafe.Pointer) {
		b.Run(name, func(b *testing.B) {
			e, err := NewEncoder(t)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if buf, err = e.Append(buf[:0], p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("five", reflect.TypeOf(w), unsafe.Pointer(&w))
	run("full", reflect.TypeOf(x), unsafe.Pointer(&x))
	b.Run("full-encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&x); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkColumns measures columns of a catalogue.
func BenchmarkColumns(b *testing.B) {
	data := catalog(16 << 20)
	root := &Column{Kind: Objects, Fields: []*Column{{Name: "category", Kind: Texts}, {Name: "price", Kind: Ints, Scale: 2},
		{Name: "stock", Kind: Ints}, {Name: "rating", Kind: Ints, Scale: 1}}}
	c := NewColumns(root, 1024)
	n := 0
	for b.Loop() {
		row := 0
		n += lines(data, func(line []byte) {
			if err := c.Decode(line, row); err != nil {
				b.Fatal(err)
			}
			if row++; row == 1024 {
				row = 0
				c.Reset()
			}
		})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}
