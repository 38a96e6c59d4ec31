package scan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// avroWriter encodes values of Avro.
type avroWriter struct{ b []byte }

func (w *avroWriter) long(n int64) { w.b = binary.AppendUvarint(w.b, uint64(n<<1)^uint64(n>>63)) }
func (w *avroWriter) text(s string) {
	w.long(int64(len(s)))
	w.b = append(w.b, s...)
}
func (w *avroWriter) double(f float64) {
	w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(f))
}

const avroSchemaText = `{"type":"record","name":"r","namespace":"n","fields":[
 {"name":"id","type":"long"}, {"name":"name","type":["null","string"]}, {"name":"ok","type":"boolean"}, {"name":"score","type":["double","null","int"]},
 {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}}, {"name":"day","type":{"type":"int","logicalType":"date"}},
 {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}, {"name":"kind","type":{"type":"enum","name":"k","symbols":["A","B"]}},
 {"name":"id16","type":{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}}, {"name":"tags","type":{"type":"array","items":"string"}},
 {"name":"attrs","type":{"type":"map","values":["null","long"]}}, {"name":"maker","type":["null",{"type":"record","name":"m","fields":[{"name":"a","type":"int"},{"name":"b","type":"string"}]}]},
 {"name":"any","type":["null","string","long","m"]}, {"name":"tree","type":["null",{"type":"record","name":"t","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","t"]}]}]}]}`

// avroRow encodes a record, and returns its values as text.
func avroRow(w *avroWriter, i int) string {
	w.long(int64(i))
	name, maker, score := "NULL", "NULL", fmt.Sprint(float64(i)/2)
	if i%2 == 0 {
		w.long(0)
	} else {
		w.long(1)
		name = fmt.Sprintf("n%d", i)
		w.text(name)
	}
	w.b = append(w.b, byte(i%2))
	if i%3 == 0 {
		w.long(2)
		w.long(int64(i))
		score = fmt.Sprint(i)
	} else {
		w.long(0)
		w.double(float64(i) / 2)
	}
	w.text(string([]byte{byte(i % 100)}))
	w.long(int64(19000 + i))
	w.long(int64(i) * 1000)
	w.long(int64(i % 2))
	w.b = append(w.b, make([]byte, 16)...)
	tags := []string{}
	if i%4 > 0 {
		w.long(-int64(i % 4)) // with the size of the block
		w.long(int64(2 * (i % 4)))
		for k := range i % 4 {
			tags = append(tags, fmt.Sprint(k))
			w.text(fmt.Sprint(k))
		}
	}
	w.long(0)
	w.long(2)
	w.text("a")
	w.long(1)
	w.long(int64(i))
	w.text("b")
	w.long(0)
	w.long(0)
	if i%5 == 0 {
		w.long(0)
	} else {
		w.long(1)
		w.long(int64(i))
		w.text("x")
		maker = fmt.Sprintf("(%d,x)", i)
	}
	w.long(2)
	w.long(7)
	w.long(1)
	w.long(1)
	w.long(1)
	w.long(2)
	w.long(0)
	return strings.Join([]string{fmt.Sprint(i), name, fmt.Sprint(i%2 == 1), score, fmt.Sprintf("0.%02d", i%100), fmt.Sprint(19000 + i), fmt.Sprint(i * 1e6), string("AB"[i%2]),
		"00000000-0000-0000-0000-000000000000", "[" + strings.Join(tags, ",") + "]", fmt.Sprintf("[(a,%d),(b,NULL)]", i), maker, "7", `{"v":1,"next":{"v":2,"next":null}}`}, " | ")
}

func avroFileOf(rows int, codec string) (content string, want []string) {
	var w avroWriter
	w.b = append(w.b, "Obj\x01"...)
	w.long(2)
	w.text("avro.schema")
	w.text(avroSchemaText)
	w.text("avro.codec")
	w.text(codec)
	w.long(0)
	const mark = "0123456789abcdef"
	w.b = append(w.b, mark...)
	for at := 0; at < rows; {
		var block avroWriter
		n := min(rows-at, 100)
		for range n {
			want = append(want, avroRow(&block, at))
			at++
		}
		switch codec {
		case "deflate":
			var out bytes.Buffer
			z, _ := flate.NewWriter(&out, 5)
			z.Write(block.b)
			z.Close()
			block.b = out.Bytes()
		case "snappy":
			sum := crc32.ChecksumIEEE(block.b)
			block.b = binary.BigEndian.AppendUint32(snappy.Encode(nil, block.b), sum)
		case "zstandard":
			z, _ := zstd.NewWriter(nil)
			block.b = z.EncodeAll(block.b, nil)
		}
		w.long(int64(n))
		w.text(string(block.b))
		w.b = append(w.b, mark...)
	}
	return string(w.b), want
}

// Every type of Avro is read, from all codecs, whole and in small splits.
func TestAvro(t *testing.T) {
	for _, codec := range []string{"null", "deflate", "snappy", "zstandard"} {
		content, want := avroFileOf(1500, codec)
		table := resolve(t, Request{Paths: []string{write(t, "a.avro", content)}})
		columns := "id bigint, name text, ok boolean, score double, price decimal(10,2), day date, at timestamptz, kind text, id16 text, tags text[], attrs map(text, bigint), maker struct(a bigint, b text), any json, tree json"
		if columns = strings.Replace(columns, "tree json", "tree struct(v bigint, next json)", 1); schema(table) != columns {
			t.Errorf("columns are\n%s\nwant\n%s", schema(table), columns)
		}
		for i := range want {
			want[i] = strings.Replace(want[i], `{"v":1,"next":{"v":2,"next":null}}`, `(1,{"v":2,"next":null})`, 1)
		}
		for _, target := range []int64{0, 1000} {
			rows, _ := read(t, table, table.Columns, target)
			if got, want := strings.Join(rows, "\n"), strings.Join(want, "\n"); got != want {
				t.Fatalf("%s: rows are\n%.600s\nwant\n%.600s", codec, got, want)
			}
		}
		name := vec.Type{Kind: vec.Struct, Fields: []vec.Field{{Name: "b", Type: vec.Of(vec.Text)}}}
		rows, _ := read(t, table, []vec.Field{{Name: "maker", Type: name}, {Name: "id", Type: vec.Of(vec.Int)}}, 0)
		if rows[1] != "(x) | 1" || rows[0] != "NULL | 0" {
			t.Errorf("pruned rows begin with %q", rows[:2])
		}
	}
}

// Damaged files are errors.
func FuzzAvro(f *testing.F) {
	content, _ := avroFileOf(3, "null")
	f.Add([]byte(content))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 5000 || !bytes.HasPrefix(b, []byte("Obj\x01")) {
			return
		}
		tryAll(t, write(t, "a.avro", string(b)), "avro")
	})
}
