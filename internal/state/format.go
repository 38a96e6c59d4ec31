package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		return fmt.Errorf("%w %.60q; this release reads %q; restore a copy, or use %s", ErrFormat, line, f, instead)
	case words[1] != f.Kind:
		return fmt.Errorf("%w: it holds %s, not %s; use %s", ErrFormat, words[1], f.Kind, instead)
	case version > f.Version:
		return fmt.Errorf("%w %q; this release reads %q; use the newer release that wrote it, or %s", ErrFormat, line, f, instead)
	}
	return fmt.Errorf("%w %q; this release reads %q; use the older release that wrote it, or %s", ErrFormat, line, f, instead)
}

// OpenFlatDir is OpenDir for a directory of plain files, which is fresh if it is empty. The caller
// removes the remains of interrupted writes first: files with the ending .tmp.
func (f Format) OpenFlatDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	return f.OpenDir(dir, len(entries) == 0)
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
		return fmt.Errorf("%w: it has data but no file %s; restore a copy of the directory, or use another directory", ErrFormat, FormatName)
	}
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, f)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return SyncDir(dir)
}
