package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRerunQuarantine sets records of an aggregate aside on a cluster. The job names the file with
// them. After a fix, the command needs only the job's ID, and the output becomes the one of a run
// without bad records.
func TestRerunQuarantine(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	dir := t.TempDir()
	out, whole := filepath.Join(dir, "out"), filepath.Join(dir, "whole")
	flags := []string{"-maps", "12", "-splits", "3", "-bad", "2", "-tiers"}
	r := m.prepare(append(flags, "-out", out)...).do("map-5", "panic").do("map-7", "panic")
	r.start()
	if code := r.Wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.Err.String())
	}
	id := m.job().Job
	var shown struct {
		Quarantine string `json:"quarantine"`
	}
	m.ask(&shown, "job", "show", id)
	host, path, _ := strings.Cut(shown.Quarantine, ":")
	if here, _ := os.Hostname(); host != here || path != out+"-quarantine.jsonl" {
		t.Fatalf("the job names the quarantine file %q", shown.Quarantine)
	}
	if text, _, _ := m.layshaft("job", "show", id); !strings.Contains(text, path) {
		t.Errorf("job show does not name the file: %s", text)
	}
	r.release("map-5", "map-7") // the fix
	rerun := append([]string{"job", "rerun-quarantine", "-cluster", m.grpc, id, "--", filepath.Join(binDir, "probe"), "-dir", r.dir}, append(flags, "-out", out)...)
	if _, stderr, code := m.layshaft(rerun...); code != 0 || !strings.Contains(stderr, "2 records of out-quarantine.jsonl in the output now; nothing is left") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	m.prepare(append(flags, "-out", whole)...).start().awaitDone()
	if got, want := parts(t, out), parts(t, whole); got != want {
		t.Errorf("the output is\n%s\nwant\n%s", got, want)
	}
	if _, stderr, code := m.layshaft(rerun...); code != 0 || !strings.Contains(stderr, "has no records, so nothing runs") {
		t.Errorf("a second time: exit code %d: %s", code, stderr)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := m.layshaft(rerun...); code == 0 || !strings.Contains(stderr, "copy it from there and name it with -file") {
		t.Errorf("without the file: exit code %d: %s", code, stderr)
	}
}
