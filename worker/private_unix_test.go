//go:build unix

package worker

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Other users of the machine can read nothing in the directory of a worker, whatever the umask, and
// whether the worker has made the directory or an operator has.
func TestDirectoryIsPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	made := filepath.Join(t.TempDir(), "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(t.TempDir(), "new"), made} {
		b := startBoss(t, "127.0.0.1:0")
		b.spec("j", 2)
		n := startNode(t, b, dir, &stages{fs: []stage{numbers(10), sum}}, nil)
		s, l := b.next(), launch(0, 0, 1)
		s.launch(l)
		s.done(l.Attempt)
		s.ack(l.Attempt)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			switch {
			case err != nil || path == made:
				return err
			case info.Mode().Perm()&0o077 != 0:
				t.Errorf("%s has mode %v", path, info.Mode())
			case d.IsDir():
				return fs.SkipDir // closed, whatever the modes in it
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		n.end()
	}
}
