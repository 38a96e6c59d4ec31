package parquetfile

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/files"
)

// Row groups of one file that follow each other in a split become one piece, with a label that
// tells which part of the file it is.
func TestSplits(t *testing.T) {
	t.Parallel()
	fs := []files.File{{Path: "a", Size: 10, ModTime: time.Unix(1, 0)}, {Path: "empty"}, {Path: "b", Size: 20}}
	wanted := map[string][]int{"a": {0, 1, 2, 5}, "b": {0, 1}}
	groups := func(ctx context.Context, f files.File) (out []Piece, err error) {
		p, err := NewPiece(ctx, f)
		for _, g := range wanted[f.Path] {
			p.Groups, p.Bytes, p.Total = []int{g}, 10, map[string]int{"a": 6, "b": 2}[f.Path]
			out = append(out, p)
		}
		return out, err
	}
	for _, tt := range []struct {
		target int64
		labels string
	}{
		{10, "a[row groups 0:1 of 6] a[row groups 1:2 of 6] a[row groups 2:3 of 6] a[row groups 5:6 of 6] b[row groups 0:1 of 2] b[row groups 1:2 of 2]"},
		{20, "a[row groups 0:2 of 6] a[2 of 6 row groups] b"},
	} {
		splits, err := Splits(t.Context(), fs, tt.target, groups)
		if err != nil {
			t.Fatal(err)
		}
		var labels []string
		read := map[string][]int{}
		for _, s := range splits {
			labels = append(labels, s.Label)
			pieces, err := Pieces(s.Label, s.Data)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pieces {
				name := filepath.Base(p.Path)
				read[name] = append(read[name], p.Groups...)
			}
		}
		if got := strings.Join(labels, " "); got != tt.labels {
			t.Errorf("target %d: splits %s, want %s", tt.target, got, tt.labels)
		}
		for path, want := range wanted {
			if !slices.Equal(read[path], want) {
				t.Errorf("target %d: row groups %v of %s, want %v", tt.target, read[path], path, want)
			}
		}
	}
	if _, err := Pieces("x", []byte("{")); err == nil || !strings.Contains(err.Error(), "split x: ") {
		t.Errorf("error %v, want one with the split", err)
	}
}
