package history

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/report"
)

// line is an element of the part 'L', a JSON array.
type line struct {
	Number   int64    `json:"n"`
	At       int64    `json:"t"` // µs since 1970
	Worker   string   `json:"w,omitempty"`
	Attempts []string `json:"a,omitempty"`
	Text     string   `json:"l"`
	Omitted  int64    `json:"o,omitempty"`
}

// Lines adds lines of user code.
func (c *Chunk) Lines(lines []report.Line) {
	if len(lines) == 0 {
		return
	}
	out := make([]line, len(lines))
	for i := range lines {
		l := &lines[i]
		out[i] = line{l.Number, l.At.UnixMicro(), l.Worker, l.Attempts, l.Text, l.Omitted}
	}
	c.json('L', out)
}

func (r *Reader) readLines(content []byte) error {
	var in []line
	if err := json.Unmarshal(content, &in); err != nil {
		return err
	}
	for _, l := range in {
		r.run.Lines = append(r.run.Lines, report.Line{Number: l.Number, At: time.UnixMicro(l.At), Worker: l.Worker, Attempts: l.Attempts, Text: l.Text, Omitted: l.Omitted})
	}
	return nil
}

func byNumber(a, b report.Line) int { return cmp.Compare(a.Number, b.Number) }

// sortedLines returns lines in order, without a change of lines.
func sortedLines(lines []report.Line) []report.Line {
	if slices.IsSortedFunc(lines, byNumber) {
		return lines
	}
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, byNumber)
	return lines
}
