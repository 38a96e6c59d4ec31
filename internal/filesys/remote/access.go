package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Access is the set of changes that a Volume permits.
type Access int

const (
	// ReadOnly permits no change.
	ReadOnly Access = iota
	// Outputs permits what sinks do. A job may write temporary files, rename them to final names,
	// and replace or remove files that a job wrote here before. Other files never change.
	Outputs
	// Unlimited permits all changes. The caller of the Volume decides about them.
	Unlimited
)

// ParseOffer splits DIR or DIR:rw, the value of a -dataset flag.
func ParseOffer(offer string) (dir string, access Access) {
	if dir, ok := strings.CutSuffix(offer, ":rw"); ok {
		return dir, Outputs
	}
	return offer, ReadOnly
}

const (
	// recordsDir is a directory beside output files. For each file that a job wrote it has a small
	// file of the same name, with the sizes and times of what was published.
	recordsDir = filesys.TempMark + "written"
)

// refuse returns an error that wraps fs.ErrPermission.
func refuse(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, fs.ErrPermission)...)
}

// checkChange returns an error if the volume does not permit a change of name. to is the target of
// a rename, else empty.
func (v *Volume) checkChange(req *layshaftv1.CallRequest, name, to string) error {
	if v.access == Unlimited {
		return nil
	}
	_, isRemoval := req.Operation.(*layshaftv1.CallRequest_Remove)
	if isRemoval {
		if _, err := v.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if v.access == ReadOnly {
		dataset := strings.TrimPrefix(req.GetVolume(), datasetVolume)
		return refuse("dataset %s is read-only on this worker; to let jobs write there, start the worker with -dataset %s=%s:rw", dataset, dataset, v.dir)
	}
	for _, n := range []string{name, to} {
		if strings.Contains("/"+n+"/", "/"+recordsDir+"/") {
			return refuse("%s belongs to the worker", n)
		}
	}
	if _, ok := req.Operation.(*layshaftv1.CallRequest_MakeDir); ok {
		return nil
	}
	if isRemoval {
		if filesys.IsTemp(name) {
			return nil
		}
		return v.checkOutput(name, "removed")
	}
	if !filesys.IsTemp(name) {
		return refuse("%s cannot be changed: only temporary files of a job can be written and renamed", name)
	}
	if to == "" {
		return nil
	}
	if fi, err := v.root.Lstat(name); err == nil && fi.IsDir() {
		return refuse("%s is a directory; only files can be renamed", name)
	}
	if filesys.IsTemp(to) {
		return nil
	}
	return v.checkOutput(to, "replaced")
}

// checkOutput returns an error if a file exists that no job wrote, or that has changed since.
func (v *Volume) checkOutput(name, change string) error {
	fi, err := v.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.IsDir() {
		return refuse("%s is a directory and cannot be %s", name, change)
	}
	if v.recordOf(name, fi) == "" {
		return refuse("%s cannot be %s: no job of this dataset wrote the file as it is now; choose another name, or remove it on worker %s", name, change, v.holder)
	}
	return nil
}

// stamp describes the state of a file in its record.
func stamp(fi fs.FileInfo) string { return fmt.Sprintf("%d %d\n", fi.Size(), fi.ModTime().UnixNano()) }

func recordPath(name string) string { return path.Join(path.Dir(name), recordsDir, path.Base(name)) }

// recordOf returns the stamp of a file if its record has it, else an empty text.
func (v *Volume) recordOf(name string, fi fs.FileInfo) string {
	data, err := v.root.ReadFile(recordPath(name))
	if line := stamp(fi); err == nil && strings.Contains("\n"+string(data), "\n"+line) {
		return line
	}
	return ""
}

// rename renames a file. If the target is an output, its record becomes durable first.
func (v *Volume) rename(name, to string) error {
	if v.access == Outputs && !filesys.IsTemp(to) {
		if err := v.recordOutput(name, to); err != nil {
			return err
		}
	}
	if err := v.root.Rename(name, to); err != nil {
		return err
	}
	return v.sync(path.Dir(to))
}

// recordOutput records that the file name becomes the output to. The stamp of the present output
// stays, because the rename may not happen.
func (v *Volume) recordOutput(name, to string) error {
	fi, err := v.root.Lstat(name)
	if err != nil {
		return err
	}
	record := stamp(fi)
	if old, err := v.root.Lstat(to); err == nil {
		record += v.recordOf(to, old)
	}
	at := recordPath(to)
	if err := v.makeDir(path.Dir(at)); err != nil {
		return err
	}
	temp := path.Join(path.Dir(at), "new"+filesys.TempMark+path.Base(at))
	f, err := v.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(record)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return v.root.Rename(temp, at)
}

// remove removes a file, and its record. A missing file is no error.
func (v *Volume) remove(name string, all bool) (err error) {
	switch {
	case name == ".":
		return fmt.Errorf("the root cannot be removed: %w", fs.ErrInvalid)
	case all:
		err = v.root.RemoveAll(name)
	default:
		err = v.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && v.access == Outputs && !filesys.IsTemp(name) {
		v.root.Remove(recordPath(name))
		v.root.Remove(path.Dir(recordPath(name))) // unless others are there
	}
	return err
}

// makeDir creates a directory and its parents, and flushes their names to disk.
func (v *Volume) makeDir(name string) error {
	var fresh []string // directories that get a new entry
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if _, err := v.root.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		fresh = append(fresh, path.Dir(dir))
	}
	err := v.root.MkdirAll(name, 0o777)
	for _, dir := range fresh {
		if err == nil {
			err = v.sync(dir)
		}
	}
	return err
}
