package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrFormat means that stored data has another kind or version than this release reads.
var ErrFormat = errors.New("unknown format")

// FormatName is the name of the file with the format of a directory.
const FormatName = "FORMAT"

// Format is the kind and the version of stored data. Its text is one line, for example
// "layshaft journal 1". Raise the version when an older release would misread the data.
type Format struct {
	Kind    string // one word, as a person would name the content
	Version int    // at least 1
}

// String returns the line without its end.
func (f Format) String() string { return fmt.Sprintf("layshaft %s %d", f.Kind, f.Version) }

// Check returns an error that wraps ErrFormat unless line is f. instead names what to use if this
// release cannot read the data, for example "another directory".
func (f Format) Check(line, instead string) error {
	line = strings.TrimSuffix(line, "\n")
	if line == f.String() {
		return nil
	}
	var version int
	words := strings.Split(line, " ")
	if len(words) == 3 && words[0] == "layshaft" {
		version, _ = strconv.Atoi(words[2])
	}
	switch {
	case version < 1:
		return fmt.Errorf("%w %.60q; this release reads %q; if only this line is damaged, replace it with %[3]q, else restore a copy, or use %[4]s", ErrFormat, line, f, instead)
	case words[1] != f.Kind:
		return fmt.Errorf("%w: it holds %s, not %s; use %s", ErrFormat, words[1], f.Kind, instead)
	case version > f.Version:
		return fmt.Errorf("%w %q; this release reads %q; use the newer release that wrote it, or %s", ErrFormat, line, f, instead)
	}
	return fmt.Errorf("%w %q; this release reads %q; use the older release that wrote it, or %s", ErrFormat, line, f, instead)
}

// OpenFlatDir is OpenDir for a directory of plain files, which is fresh if it is empty. Files with
// the ending .tmp are remains of interrupted writes. If the format is right, it removes them.
func (f Format) OpenFlatDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	isLeft := func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".tmp" }
	err = f.OpenDir(dir, !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !isLeft(e) }))
	for _, e := range entries {
		if err == nil && isLeft(e) && e.Name() != FormatName+".tmp" { // OpenDir replaces this one
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// OpenDir checks the file FORMAT in dir. If the file is missing, OpenDir writes and syncs it in a
// fresh directory, and otherwise returns an error that wraps ErrFormat.
func (f Format) OpenDir(dir string, fresh bool) error {
	path := filepath.Join(dir, FormatName)
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		return f.Check(string(b), "another directory")
	case !errors.Is(err, os.ErrNotExist):
		return err
	case !fresh:
		return fmt.Errorf("%w: it has data but no file %s; if only this file is lost, write the line %q into it, else restore a copy of the directory, or use another directory", ErrFormat, FormatName, f)
	}
	return Replace(path, fmt.Appendln(nil, f), 0o600)
}
