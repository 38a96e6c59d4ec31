package recorder

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/report"
)

// ReadDir reads the histories in the data directory of a coordinator, the latest job first. The
// coordinator may run. Several coordinators keep the histories in their common state instead, where
// this function cannot read them.
func ReadDir(dir string) ([]*report.Run, error) {
	if _, err := os.Stat(filepath.Join(dir, "replica")); err == nil {
		return nil, fmt.Errorf("%s belongs to one of several coordinators; use \"layshaft job report ID -history FILE\" with one that runs", dir)
	}
	folder := filepath.Join(dir, Prefix)
	entries, err := os.ReadDir(folder)
	if err != nil {
		if _, at := os.Stat(filepath.Join(dir, "cluster")); at == nil && os.IsNotExist(err) {
			return nil, nil // no job yet
		}
		return nil, fmt.Errorf("%w; give the data directory of a coordinator", err)
	}
	readers := map[string]*history.Reader{}
	for _, e := range entries { // in order of name, so in order of time
		id, _, ok := strings.Cut(e.Name(), ".")
		if !ok {
			continue
		}
		r := readers[id]
		if r == nil {
			r = &history.Reader{}
			readers[id] = r
		}
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			r.Miss()
			continue
		}
		_ = r.Add(b) // Run.Damaged reports it
	}
	runs := make([]*report.Run, 0, len(readers))
	for _, r := range readers {
		if run := r.Run(); run.ID != "" {
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b *report.Run) int {
		return cmp.Or(b.Submitted.Compare(a.Submitted), cmp.Compare(a.ID, b.ID))
	})
	return runs, nil
}
