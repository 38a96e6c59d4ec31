package binio_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/binio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Records of four bytes are sorted by their first two, as sort benchmarks do.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte("dd04bb02cc03"), 0o666); err != nil {
		fmt.Println(err)
		return
	}

	sorted := mapreduce.Define("sorted", func(p *mapreduce.Plan, in string) mapreduce.Dataset[string] {
		records := mapreduce.Read(p, binio.Records(4, in))
		return mapreduce.SortBy(records, func(r string) string { return r[:2] })
	})
	err = sorted.WriteTo(context.Background(), mapreduce.Local{}, in, binio.WriteFile(out))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := os.ReadFile(out)
	fmt.Printf("%s %v\n", data, err)
	// Output: bb02cc03dd04 <nil>
}

// A measurement is 12 bytes: a sensor number and a value.
func ExampleRecordsAs() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Measurement struct {
		Sensor uint32
		Value  float64
	}
	write := mapreduce.Define("write", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Measurement] {
		return mapreduce.Read(p, memio.Of(Measurement{7, 21.5}, Measurement{8, -3}))
	})
	encode := func(dst []byte, m Measurement) []byte {
		dst = binary.LittleEndian.AppendUint32(dst, m.Sensor)
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(m.Value))
	}
	file := filepath.Join(dir, "measurements.zst") // compressed because of its suffix
	err = write.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, binio.WriteFileAs(file, encode))
	if err != nil {
		fmt.Println(err)
		return
	}

	read := mapreduce.Define("read", func(p *mapreduce.Plan, file string) mapreduce.Dataset[Measurement] {
		return mapreduce.Read(p, binio.RecordsAs(12, func(b string, m *Measurement) error {
			raw := []byte(b)
			m.Sensor = binary.LittleEndian.Uint32(raw)
			m.Value = math.Float64frombits(binary.LittleEndian.Uint64(raw[4:]))
			return nil
		}, file))
	})
	fmt.Println(read.Collect(context.Background(), mapreduce.Local{}, file))
	// Output: [{7 21.5} {8 -3}] <nil>
}
