package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// operation returns one call that changes a volume: write NAME, mkdir NAME, remove NAME, remove-all NAME, or rename NAME NAME.
func operation(text string) *layshaftv1.CallRequest {
	f := strings.Fields(text)
	req := &layshaftv1.CallRequest{Volume: "dataset/d", Name: f[1]}
	switch f[0] {
	case "write":
		req.Operation = &layshaftv1.CallRequest_Write{Write: &layshaftv1.WriteFile{Data: []byte("written by a job")}}
	case "mkdir":
		req.Operation = &layshaftv1.CallRequest_MakeDir{}
	case "remove", "remove-all":
		req.Operation = &layshaftv1.CallRequest_Remove{Remove: &layshaftv1.RemoveFile{All: f[0] == "remove-all"}}
	case "rename":
		req.Operation = &layshaftv1.CallRequest_Rename{Rename: &layshaftv1.RenameFile{To: f[2]}}
	}
	return req
}

// A dataset is read-only unless it is offered with :rw. Then a job may write its temporary files, publish them, and replace or remove what
// a job published, and nothing else.
func TestAccess(t *testing.T) {
	for _, access := range []Access{ReadOnly, Outputs} {
		dir := t.TempDir()
		put(t, dir+"/source.csv", "a,b\n")
		put(t, dir+"/sub/x.csv", "a,b\n")
		var log []string
		v, err := OpenVolume(dir, "w1", access)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		v.Audit = func(_ context.Context, action string, attrs ...any) { log = append(log, fmt.Sprint(action, attrs)) }
		const temp = "out/.layshaft-j1/"
		for _, step := range []struct {
			op, refusal string // refusal is empty if an Outputs volume allows it
		}{
			{"write source.csv", "only temporary files of a job"},
			{"write new.csv", "only temporary files of a job"},
			{"remove source.csv", "no job of this dataset wrote"},
			{"remove-all sub", "is a directory"},
			{"remove sub", "is a directory"},
			{"rename source.csv gone.csv", "only temporary files of a job"},
			{"rename source.csv out/.layshaft-j1/part", "only temporary files of a job"},
			{"mkdir out", ""},
			{"mkdir out/.layshaft-j1", ""},
			{"write " + temp + "part", ""},
			{"rename " + temp + "part source.csv", "no job of this dataset wrote"},
			{"rename " + temp + "part sub", "is a directory"},
			{"rename out/.layshaft-j1 moved", "is a directory"},
			{"write out/" + recordsDir + "/source.csv", "belongs to the worker"},
			{"mkdir " + recordsDir, "belongs to the worker"},
			{"rename " + temp + "part out/" + recordsDir + "/source.csv", "belongs to the worker"},
			{"rename " + temp + "part out/part", ""},
			{"write " + temp + "again", ""},
			{"rename " + temp + "again out/part", ""},
			{"remove-all out/" + recordsDir, "belongs to the worker"},
			{"remove out/part", ""},
			{"remove out/part", ""},
			{"remove out/missing", ""},
			{"remove-all out/.layshaft-j1", ""},
			{"write .one.csv.layshaft-j2/whole", ""},
			{"rename .one.csv.layshaft-j2/whole one.csv", ""},
			{"remove one.csv", ""},
		} {
			before := len(log)
			_, err := answer(v, operation(step.op))
			want := step.refusal
			if access == ReadOnly {
				want = "-dataset d=" + dir + ":rw"
				if strings.HasPrefix(step.op, "remove") && !strings.HasSuffix(step.op, "source.csv") && !strings.HasSuffix(step.op, "sub") {
					want = "" // nothing is there, so nothing is removed
				}
			}
			switch {
			case want == "" && err != nil:
				t.Errorf("access %d: %s: %v", access, step.op, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, fs.ErrPermission)):
				t.Errorf("access %d: %s: error %v, want a refusal with %q", access, step.op, err, want)
			case len(log) != before+1 || (want != "") != strings.Contains(log[before], "err"):
				t.Errorf("access %d: %s: audit log %q", access, step.op, log[before:])
			}
		}
		for _, name := range []string{"source.csv", "sub/x.csv"} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != "a,b\n" {
				t.Errorf("access %d: %s is %q, %v", access, name, b, err)
			}
		}
	}
}

// A job may not replace a file that has changed since a job wrote it.
func TestAccessAfterChange(t *testing.T) {
	dir := t.TempDir()
	v, err := OpenVolume(dir, "w1", Outputs)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	do := func(op string) error {
		_, err := answer(v, operation(op))
		return err
	}
	if err := errors.Join(do("write .layshaft-j/a"), do("rename .layshaft-j/a a.csv"), do("write .layshaft-j/a")); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/a.csv", "a table of somebody else")
	if err := do("rename .layshaft-j/a a.csv"); err == nil || !strings.Contains(err.Error(), "a.csv") {
		t.Errorf("a changed file was replaced: %v", err)
	}
	if err := do("remove a.csv"); err == nil {
		t.Error("a changed file was removed")
	}
}

// answer returns the error in the answer of a volume.
func answer(v *Volume, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	resp, err := v.Call(context.Background(), req)
	return resp, responseError(resp, err)
}
