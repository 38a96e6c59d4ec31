package parquetfile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/machine"
)

// Piece is row groups of a file. The data of a split is a list of pieces.
type Piece struct {
	Path    string   `json:"path"`            // result of filesys.Lend
	Groups  []int    `json:"groups"`          // row groups, ascending
	Size    int64    `json:"size"`            // of the file at the time of the split
	ModTime int64    `json:"time"`            // of the file at that time, in nanoseconds since 1970
	Hosts   []string `json:"hosts,omitempty"` // with a copy of the file at that time
	Version int64    `json:"v,omitempty"`     // see files.File; part of the job's identity

	// Bytes is the size of the columns to read.
	Bytes int64 `json:"-"`
	// Total is the number of row groups of the file.
	Total int `json:"-"`
	label string
}

// NewPiece returns a piece of a file, without row groups.
func NewPiece(ctx context.Context, f files.File) (Piece, error) {
	path, err := filesys.Lend(ctx, f.Path)
	if err != nil {
		return Piece{}, err
	}
	return Piece{Path: path, Size: f.Size, ModTime: f.ModTime.UnixNano(), Hosts: f.Hosts, Version: f.Version, label: f.Path}, nil
}

// Open opens the file of a piece; see [Open].
func (p *Piece) Open(ctx context.Context) (file *parquet.File, closer io.Closer, err error) {
	return Open(ctx, p.Path, p.Hosts, p.Version, p.Size, p.ModTime)
}

// Before returns the number of rows before a row group of the piece. It returns an error if the
// file has no such row group.
func (p *Piece) Before(file *parquet.File, group int) (rows int64, err error) {
	all := file.RowGroups()
	if group < 0 || group >= len(all) {
		return 0, fmt.Errorf("%s: has %d row groups, and not number %d", p.Path, len(all), group)
	}
	for _, g := range all[:group] {
		rows += g.NumRows()
	}
	return rows, nil
}

// Splits packs row groups into splits of about target bytes; zero means 64 MiB. It calls groups
// for several files at once: groups reads the footer of one, and returns a piece for each row group
// to read.
func Splits(ctx context.Context, fs []files.File, target int64, groups func(context.Context, files.File) ([]Piece, error)) ([]job.Split, error) {
	if target <= 0 {
		target = 64 << 20
	}
	all := make([][]Piece, len(fs))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(4 * machine.Processors()) // mostly waiting for the disk
	for i, f := range fs {
		work.Go(func() (err error) {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			all[i], err = groups(ctx, f)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var splits []job.Split
	bins := files.Bins[Piece]{Target: target, Full: func(pieces []Piece, bytes int64, hosts []string) error {
		var pack []Piece
		for _, p := range pieces {
			if n := len(pack); n > 0 && pack[n-1].Path == p.Path {
				pack[n-1].Groups = slices.Concat(pack[n-1].Groups, p.Groups)
			} else {
				pack = append(pack, p)
			}
		}
		data, err := json.Marshal(pack)
		splits = append(splits, job.Split{Label: labelOf(pack), Bytes: bytes, Hosts: hosts, Data: data})
		return err
	}}
	for _, p := range slices.Concat(all...) {
		if err := bins.Add(p, p.Bytes, p.Hosts); err != nil {
			return nil, err
		}
	}
	return splits, bins.Flush()
}

// labelOf returns the label of a split.
func labelOf(pack []Piece) string {
	first, last := &pack[0], &pack[len(pack)-1]
	n := len(first.Groups)
	switch {
	case len(pack) > 1:
		return fmt.Sprintf("%d files, %s … %s", len(pack), first.label, last.label)
	case n == first.Total:
		return first.label
	case first.Groups[n-1]-first.Groups[0] == n-1:
		return fmt.Sprintf("%s[row groups %d:%d of %d]", first.label, first.Groups[0], first.Groups[n-1]+1, first.Total)
	}
	return fmt.Sprintf("%s[%d of %d row groups]", first.label, n, first.Total)
}

// Pieces reads the data of a split.
func Pieces(label string, data []byte) (pieces []Piece, err error) {
	if err := json.Unmarshal(data, &pieces); err != nil {
		return nil, fmt.Errorf("split %s: its description cannot be read: %w", label, err)
	}
	return pieces, nil
}
