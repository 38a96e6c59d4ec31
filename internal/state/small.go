package state

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/dirs"
)

// copySuffix is the end of the name of a file's copy.
const copySuffix = ".copy"

// WriteFile writes a small file without which a process cannot start. The file ends in a line with
// a checksum and has a copy beside it. Both become durable, each of them whole or not at all.
func WriteFile(path string, data []byte) error {
	data = fmt.Appendf(bytes.Clone(data), "crc32c %08x\n", crc32.Checksum(data, castagnoli))
	return errors.Join(Replace(path, data, 0o600), Replace(path+copySuffix, data, 0o600))
}

// ReadFile reads a file of WriteFile, without its checksum. If the file is missing or damaged, it
// reads the copy and repairs the file. The error wraps fs.ErrNotExist if neither exists, and
// ErrDamaged if there is no whole one.
func ReadFile(path string) ([]byte, error) {
	data, err := readChecked(path)
	if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	data, copyErr := readChecked(path + copySuffix)
	switch {
	case copyErr == nil:
		return data, WriteFile(path, data)
	case errors.Is(err, fs.ErrNotExist):
		return nil, copyErr
	}
	return nil, err
}

func readChecked(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n') + 1
	if want := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(b[:end], castagnoli)); string(b[end:]) != want {
		return nil, fmt.Errorf("%s is %w: its checksum does not match", path, ErrDamaged)
	}
	return b[:end], nil
}

// Replaceable returns the file that a rename to path should replace: the target of a link, else
// path. It refuses directories, devices and links to nothing, but not a missing file.
func Replaceable(path string) (string, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		link := path
		if path, err = filepath.EvalSymlinks(link); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: it is a link to a file that does not exist; remove it, or name another file", link)
		}
		if err == nil {
			info, err = os.Stat(path)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", fmt.Errorf("%s: it cannot be written: %w; name another file", path, withoutPath(err))
	case info.IsDir():
		return "", fmt.Errorf("%s: it is a directory; name another file", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: it is not a regular file, so it cannot be replaced; name another file", path)
	}
	return path, nil
}

// CheckFile checks that Replace can write a file, and makes its directory.
func CheckFile(path string) error {
	path, err := Replaceable(path)
	if err != nil {
		return err
	}
	if err := dirs.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("%s: it cannot be written: %w; name another file", path, err)
	}
	if err := CheckDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s: it cannot be written: %w; name another file", path, err)
	}
	return nil
}

// CheckDir checks that files can be made in a directory.
func CheckDir(dir string) error {
	f, err := os.CreateTemp(dir, ".layshaft-check-")
	if err != nil {
		return withoutPath(err) // it has a random name
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// withoutPath returns the cause of a fs.PathError.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Replace replaces a file atomically, and makes the new one durable. If path is a link, the target
// is replaced.
func Replace(path string, data []byte, mode fs.FileMode) error {
	path, err := Replaceable(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
