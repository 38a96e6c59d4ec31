package runner

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// An attempt that ends after a line without end, such as the bar of its progress, has ended for the
// next lines too.
func TestLongLineKeepsTag(t *testing.T) {
	for _, size := range []int{maxLine - 20, maxLine - 5, maxLine - 1, maxLine, maxLine + 1, maxLine + 30, 3 * maxLine} {
		for _, step := range []int{1, 7, 1 << 20} {
			var got []string
			o := &output{log: slog.New(slog.DiscardHandler), lines: func(l Line) { got = append(got, fmt.Sprint(l.Attempts, len(l.Text))) }, running: func() []string { return nil }}
			for text := []byte("\x1e+0/1#1\x1e\n" + strings.Repeat("x", size) + "\x1e-0/1#1\x1e\nafter\n"); len(text) > 0; {
				n := min(step, len(text))
				o.split(text[:n])
				text = text[n:]
			}
			if want := []string{fmt.Sprint("[0/1#1] ", min(size, maxLine)), "[] 5"}; !slices.Equal(got, want) {
				t.Errorf("%d bytes, %d at a time: %q, want %q", size, step, got, want)
			}
		}
	}
}
