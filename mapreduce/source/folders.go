package source

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// foldersSource is a source whose records get values from the folders of their file.
type foldersSource[T any] struct {
	connector.Source[T]
	set func(folders map[string]string, v *T) error
}

// Folders returns a source of files whose records also get values from the folders of their file,
// as Hive and Spark write them: in sales/year=2026/month=11/part-0.parquet, folders["year"] is
// "2026". It works for any source of files, such as parquetio.Rows and csvio.Rows. set must not
// change the map. A folder named __HIVE_DEFAULT_PARTITION__ is a missing value, which is not in the
// map. An error of set makes the record a bad record.
func Folders[T any](files connector.Source[T], set func(folders map[string]string, v *T) error) connector.Source[T] {
	return foldersSource[T]{files, set}
}

// Splits cuts the files as the source does without folders.
func (s foldersSource[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	if s.set == nil {
		return nil, fmt.Errorf("%s: the function given to Folders is nil", s)
	}
	return s.Source.Splits(ctx, target)
}

// Read sets the values of each record before it emits it.
func (s foldersSource[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	emit, path, folders := r.Emit, "", map[string]string(nil)
	var failed error
	r.Emit = func(v *T) {
		if folders == nil || r.Path != path {
			path, folders = r.Path, foldersOf(filesys.DisplayText(r.Path))
		}
		if failed != nil {
			return
		}
		if err := s.set(folders, v); err == nil {
			emit(v)
		} else {
			failed = r.Bad(err, nil)
		}
	}
	defer func() { r.Emit = emit }()
	if err := s.Source.Read(ctx, split, r); failed == nil {
		return err
	}
	return failed
}

// foldersOf returns the values in the folders of a path.
func foldersOf(path string) map[string]string {
	values := map[string]string{}
	parts := strings.Split(path, "/")
	for _, folder := range parts[:len(parts)-1] {
		name, value, ok := strings.Cut(folder, "=")
		if !ok || name == "" || value == "__HIVE_DEFAULT_PARTITION__" {
			continue
		}
		if text, err := url.PathUnescape(value); err == nil {
			value = text
		}
		if text, err := url.PathUnescape(name); err == nil {
			name = text
		}
		values[name] = value
	}
	return values
}
