package main

import (
	"bufio"
	"fmt"
	"strconv"
)

// w1 counts words: a table for each worker, then each worker adds up one share of the hashes of all
// tables and writes it. Counts are 32 bits wide.
func w1(out string, files []string) error {
	tables := make([]*wordTable, workers)
	for w := range tables {
		var err error
		if tables[w], err = newWordTable(); err != nil {
			return err
		}
	}
	if err := eachChunk(files, func(w int, lines []byte) { tables[w].addText(lines) }); err != nil {
		return err
	}
	return parallel(func(w int) error {
		sum, err := newWordTable()
		if err != nil {
			return err
		}
		for _, t := range tables {
			sum.addTable(t, w, workers)
		}
		f, err := create(out, fmt.Sprintf("part-%02d", w))
		if err != nil {
			return err
		}
		defer f.Close()
		o := bufio.NewWriterSize(f, 1<<20)
		var line []byte
		for i := range sum.slots {
			if s := &sum.slots[i]; s.length > 0 {
				line = append(sum.word(line[:0], s), '\t')
				line = append(strconv.AppendUint(line, uint64(s.count), 10), '\n')
				if _, err := o.Write(line); err != nil {
					return err
				}
			}
		}
		return o.Flush()
	})
}
