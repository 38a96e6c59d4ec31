// Package dirs makes directories.
package dirs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// MkdirAll is os.MkdirAll, whose error names a link to nothing on the way.
func MkdirAll(dir string, mode os.FileMode) error {
	err := os.MkdirAll(dir, mode)
	if err == nil {
		return nil
	}
	for d := filepath.Clean(dir); d != filepath.Dir(d); d = filepath.Dir(d) {
		target, linkErr := os.Readlink(d)
		if _, statErr := os.Stat(d); linkErr == nil && errors.Is(statErr, os.ErrNotExist) {
			return &os.PathError{Op: "mkdir", Path: d, Err: fmt.Errorf("it is a link to %s, which does not exist", target)}
		}
	}
	return err
}
