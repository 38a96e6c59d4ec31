package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
)

// lineParts is the number of parts of the lines, so many that the table of one part stays small.
const lineParts = 1024

// repeats counts equal lines, and then how many lines occur how often. Lines have no spaces.
func repeats(out string, files []string) error {
	parts := make([][][]byte, workers)
	for w := range parts {
		parts[w] = make([][]byte, lineParts)
	}
	if err := eachChunk(files, func(w int, lines []byte) {
		for line := range bytes.Lines(lines) {
			at := &parts[w][hash(bytes.TrimSuffix(line, []byte("\n")))%lineParts]
			*at = append(*at, line...)
			if line[len(line)-1] != '\n' {
				*at = append(*at, '\n')
			}
		}
	}); err != nil {
		return err
	}
	counts := make([]map[uint32]int64, workers)
	if err := parallel(func(worker int) error {
		counts[worker] = map[uint32]int64{}
		for bucket := worker; bucket < lineParts; bucket += workers {
			t := &wordTable{}
			if err := t.resize(1 << 12); err != nil {
				return err
			}
			for _, part := range parts {
				lines := part[bucket]
				t.addText(slices.Grow(lines, slackBytes))
				part[bucket] = nil
			}
			for i := range t.slots {
				if s := &t.slots[i]; s.length > 0 {
					counts[worker][s.count]++
				}
			}
			t.free()
		}
		return nil
	}); err != nil {
		return err
	}
	return writeFile(out, func(o io.Writer) {
		all := map[uint32]int64{}
		for _, part := range counts {
			for times, lines := range part {
				all[times] += lines
			}
		}
		for _, times := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(o, "%d\t%d\n", times, all[times])
		}
	})
}
