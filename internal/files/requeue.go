package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/report"
)

// A run sets bad records aside. After a fix, a later run reads only these records and adds their
// results to the finished output, as further parts. The manifest lists the added records, so a
// repeated or killed run adds no record twice.

// addition is what a run adds to a finished output.
type addition struct {
	of      string   // job that must have written the output; empty allows any
	records []string // the records that the parts come from
}

// check returns an error if the records cannot be added to an output. done means that it has them.
func (a *addition) check(dir string, old manifest, list []Part) (done bool, err error) {
	has := 0
	for _, r := range a.records {
		if slices.Contains(old.Requeued, r) {
			has++
		}
	}
	resumed := !old.Complete && has == len(a.records) && !slices.ContainsFunc(list, func(p Part) bool {
		return !slices.ContainsFunc(old.Parts, func(o Part) bool { return o.Name == p.Name && o.Requeued })
	})
	switch {
	case a.of != "" && old.Job != a.of:
		return false, fmt.Errorf("%s contains the output of job %s, and the records are of job %s; run the job of the records as a whole", dir, old.Job, a.of)
	case resumed:
		return false, nil
	case !old.Complete:
		return false, fmt.Errorf("%s is not complete, because job %s was stopped while it moved its output there; run that job as a whole", dir, old.Job)
	case has == len(a.records):
		return true, nil
	case has > 0:
		return false, fmt.Errorf("%s contains %d of the %s already, from another run; run the job as a whole", dir, has, report.Plural(len(a.records), "record"))
	}
	return false, nil
}

// all returns the records of the output after the addition.
func (a *addition) all(old manifest) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(old.Requeued, a.records))))
}

// Requeued returns the set-aside records that were added to the output of job of, which may be
// empty for any job. It returns an error if nothing can be added to the output.
func (d *Dir) Requeued(ctx context.Context, of string) ([]string, error) {
	old, err := readManifest(ctx, d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no finished output to which records could be added; run the job as a whole", d.Path)
	}
	if err != nil {
		return nil, err
	}
	if of != "" && old.Job != of {
		_, err = (&addition{of: of}).check(d.Path, old, nil)
	}
	if !old.Complete { // perhaps by a killed FinishRequeue, which goes on
		return nil, err
	}
	return old.Requeued, err
}

// FinishRequeue adds the parts of a job to the finished output of job of, and records to its list
// of added records. It may be killed at any point and called again.
func (d *Dir) FinishRequeue(ctx context.Context, job string, parts [][]byte, of string, records []string) error {
	list, err := parseParts(parts)
	if err != nil {
		return err
	}
	if _, err := readManifest(ctx, d.Path); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(p Part) bool { return p.Records == 0 })
	for i := range list {
		list[i].Name, list[i].Requeued = requeuedName(list[i].Name, job), true
	}
	return d.finish(ctx, job, list, &addition{of, records})
}

// requeuedName returns the name of an added part, which no other run uses.
func requeuedName(name, job string) string {
	at := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[at:], '.'); dot >= 0 {
		at += dot
	} else {
		at = len(name)
	}
	return fmt.Sprintf("%s-requeued-%08x%s", name[:at], uint32(xxh3.HashString(job)), name[at:])
}

// requeuer is an Output to which records can be added.
type requeuer interface {
	Requeued(ctx context.Context, of string) ([]string, error)
	FinishRequeue(ctx context.Context, job string, parts [][]byte, of string, records []string) error
}

// Requeued implements connector.RequeueSink.
func (s Sink) Requeued(ctx context.Context, of string) ([]string, error) {
	out, ok := s.out.(requeuer)
	if !ok {
		return nil, fmt.Errorf("%s writes one file, which does not list what was added to it; write to a directory, or run the job as a whole", s.name)
	}
	return out.Requeued(ctx, of)
}

// FinishRequeue implements connector.RequeueSink.
func (s Sink) FinishRequeue(ctx context.Context, job string, parts [][]byte, of string, records []string) error {
	out, ok := s.out.(requeuer)
	if !ok {
		return fmt.Errorf("%s: records cannot be added to one file", s.name)
	}
	return out.FinishRequeue(ctx, job, parts, of, records)
}
