//go:build linux

// Package loopdisk makes disks with a simulated power cut. A disk is an ext4 file system in an
// image file. The image contains only synced data; other data is in the kernel's memory. A cut
// forbids the kernel to write that data. A copy of the image, mounted in its place, is therefore
// the disk of a machine after a power cut. It does not simulate a drive that loses its own cache.
package loopdisk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system in an image file.
type Disk struct {
	t     testing.TB
	image string // ends with the number of cuts
	cuts  int
	vain  int // cuts before which the kernel had written everything

	// Dir is the mount point.
	Dir string
}

// New creates a disk and mounts it at dir, which is created if missing. It skips the test if
// mounting is not permitted.
func New(t testing.TB, dir string, size int64) *Disk {
	t.Helper()
	d := &Disk{t: t, Dir: dir, image: filepath.Join(t.TempDir(), "image")}
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(d.path(), nil, 0o600), os.Truncate(d.path(), size))
	if err != nil {
		t.Fatal(err)
	}
	// Only programs may write: disable the background initialisation.
	if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.path()).CombinedOutput(); err != nil {
		t.Skipf("an ext4 file system cannot be made: %v: %s; install e2fsprogs", err, out)
	}
	if err := d.mount(); err != nil {
		t.Skipf("a disk image cannot be mounted: %v; run as root, where loop devices are allowed", err)
	}
	t.Cleanup(func() {
		if err := d.unmount(); err != nil {
			t.Error(err)
		}
		if d.cuts > 0 && d.vain == d.cuts {
			t.Errorf("after each of %d cuts a file that was not synced was there: these are no power cuts", d.cuts)
		}
	})
	return d
}

func (d *Disk) path() string { return fmt.Sprintf("%s-%d", d.image, d.cuts) }

func (d *Disk) mount() error {
	// Unsynced data stays in memory for longer than any test.
	out, err := exec.Command("mount", "-o", "loop,noatime,commit=900", d.path(), d.Dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// unmount does not wait for processes with open files, such as the child of a killed process.
func (d *Disk) unmount() error { return syscall.Unmount(d.Dir, syscall.MNT_DETACH) }

// Cut cuts the power of the disk and restores it. All users of the disk must be dead. The test
// fails unless a synced new file is kept, and at least once an unsynced one is lost: any process of
// the machine may make the kernel write all disks, by the system call sync.
func (d *Disk) Cut() {
	d.t.Helper()
	synced, lost := []byte(fmt.Sprint("synced before cut ", d.cuts)), []byte(fmt.Sprint("written before cut ", d.cuts))
	f, err := os.Create(filepath.Join(d.Dir, "control-synced"))
	if err == nil {
		_, err = f.Write(synced)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err = errors.Join(err, os.WriteFile(filepath.Join(d.Dir, "control-lost"), lost, 0o600), shutDown(d.Dir)); err != nil {
		d.t.Fatal(err)
	}
	from := d.path()
	d.cuts++
	if err := freeze(from, d.path()); err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(d.unmount(), d.mount()); err != nil {
		d.t.Fatalf("cut %d: %v", d.cuts, err)
	}
	if b, err := os.ReadFile(filepath.Join(d.Dir, "control-synced")); err != nil || !bytes.Equal(b, synced) {
		d.t.Fatalf("cut %d: a file that was synced holds %q, want %q (%v)", d.cuts, b, synced, err)
	}
	if b, _ := os.ReadFile(filepath.Join(d.Dir, "control-lost")); bytes.Equal(b, lost) {
		d.vain++
		d.t.Logf("cut %d: the kernel had written all files before", d.cuts)
	}
	if err := os.Remove(from); err != nil {
		d.t.Fatal(err)
	}
}

// shutDown makes the kernel write nothing more to the ext4 file system at dir, not even its
// journal: ioctl EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, from the kernel's
// fs/ext4/ext4.h.
func shutDown(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const shutdown, noLogFlush = 0x8004587d, 2
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush); err != nil {
		return fmt.Errorf("shut down the file system at %s: %w", dir, err)
	}
	return nil
}

// freeze copies an image as of one moment, although the kernel may write to it: it repeats until
// the copy equals the image.
func freeze(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if err := dst.Truncate(fi.Size()); err != nil {
		return err
	}
	for range 100 {
		changed, err := update(dst, src)
		if err != nil || !changed {
			return err
		}
	}
	return fmt.Errorf("%s changes all the time", from)
}

// update makes dst equal to src, and reports whether they differed.
func update(dst, src *os.File) (changed bool, err error) {
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; off += int64(len(a)) {
		n, err := src.ReadAt(a, off)
		if n == 0 || err != nil && err != io.EOF {
			if err == io.EOF {
				err = nil
			}
			return changed, err
		}
		if _, err := dst.ReadAt(b[:n], off); err != nil {
			return changed, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			changed = true
			if _, err := dst.WriteAt(a[:n], off); err != nil {
				return changed, err
			}
		}
	}
}
