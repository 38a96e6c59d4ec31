package compare

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Spread summarizes a series of figures by Min, Median and Max, in the unit of the figures.
type Spread struct{ Min, Median, Max float64 }

// SpreadOf returns the spread of at least one figure. For an even number of figures, the median
// is the mean of the middle two.
func SpreadOf(figures []float64) Spread {
	s := slices.Sorted(slices.Values(figures))
	n := len(s)
	return Spread{Min: s[0], Median: (s[(n-1)/2] + s[n/2]) / 2, Max: s[n-1]}
}

func (s Spread) text(format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
}

// Ratios returns the spread of a's wall time divided by base's, round by round.
func Ratios(a, base Result) Spread {
	ratios := make([]float64, len(a.Runs))
	for i := range ratios {
		ratios[i] = a.Runs[i].Wall.Seconds() / base.Runs[i].Wall.Seconds()
	}
	return SpreadOf(ratios)
}

func (r Result) spread(of func(Run) float64) Spread {
	var figures []float64
	for _, run := range r.Runs {
		figures = append(figures, of(run))
	}
	return SpreadOf(figures)
}

// Markdown writes a table of the results: medians with the smallest and largest figure, and the
// ratio of each wall time to the named bases. Bases without a result are left out.
func Markdown(w io.Writer, results []Result, bases ...string) error {
	header := []string{"", "wall, s", "CPU, s", "peak RSS, MiB"}
	traced := slices.ContainsFunc(results, func(r Result) bool { return r.Runs[0].First > 0 })
	if traced {
		header = append(header, "first record, s")
	}
	var base []Result
	for _, name := range bases {
		if i := slices.IndexFunc(results, func(r Result) bool { return r.Name == name }); i >= 0 {
			base = append(base, results[i])
			header = append(header, "wall / "+name)
		}
	}
	rows := [][]string{header, append([]string{"---"}, slices.Repeat([]string{"---:"}, len(header)-1)...)}
	for _, r := range results {
		row := []string{r.Name,
			seconds(r, func(run Run) time.Duration { return run.Wall }),
			seconds(r, func(run Run) time.Duration { return run.CPU }),
			r.spread(func(run Run) float64 { return float64(run.RSS) / (1 << 20) }).text("%.0f")}
		if traced && r.Runs[0].First > 0 {
			row = append(row, seconds(r, func(run Run) time.Duration { return run.First }))
		} else if traced {
			row = append(row, "")
		}
		for _, b := range base {
			row = append(row, Ratios(r, b).text("%.2f"))
		}
		rows = append(rows, row)
	}
	return writeTable(w, rows)
}

// seconds formats a duration, with milliseconds only if they matter.
func seconds(r Result, of func(Run) time.Duration) string {
	s := r.spread(func(run Run) float64 { return of(run).Seconds() })
	if s.Max < 1 {
		return s.text("%.3f")
	}
	return s.text("%.2f")
}

// writeTable writes rows of equal length as aligned Markdown.
func writeTable(w io.Writer, rows [][]string) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := "|"
		for i, cell := range row {
			line += " " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + " |"
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
