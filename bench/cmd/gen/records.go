package main

import (
	"bytes"
	"fmt"
	"io"
)

// recordSize is the length of a record to sort, its line feed included.
const recordSize = 100

// writeRecords writes the records from one number to another: a key of 10 random printable bytes,
// the number in 32 hexadecimal digits, and a filler of 13 letters, each four times; the shape of
// the records of the public sort benchmarks.
func writeRecords(w io.Writer, part, from, to int) error {
	r := stream(9000 + uint64(part))
	record := make([]byte, 0, recordSize)
	for n := from; n < to; n++ {
		record = record[:0]
		for range 10 {
			record = append(record, byte(' '+r.IntN(95)))
		}
		record = fmt.Appendf(record, "  %032X  ", n)
		for range 13 {
			record = append(record, bytes.Repeat([]byte{byte('A' + r.IntN(26))}, 4)...)
		}
		record = append(record, '.', '\n')
		if _, err := w.Write(record); err != nil {
			return err
		}
	}
	return nil
}
