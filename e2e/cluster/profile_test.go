package cluster

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/layshaft/layshaft/internal/flame"
)

// TestProfile profiles a run on a cluster. The profile of a stage has samples of the children of
// all workers, with their attempts as labels. The coordinator keeps it over a restart, for the
// command line and the page of the job.
func TestProfile(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	dir := filepath.Join(t.TempDir(), "profile")
	r := m.prepare("-maps", "6", "-each", "300000", "-tiers", "-profile", dir).start()
	if code := r.Wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.Err.String())
	}
	f, err := os.Open(filepath.Join(dir, "stage-0.pprof"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range p.Sample {
		if len(s.Label["stage"]) == 1 && s.Label["stage"][0] == "0" && len(s.Label["job"]) == 1 {
			seen[s.Label["task"][0]] = true
		}
	}
	if len(seen) < 4 { // a short attempt may have no sample
		t.Errorf("the profile of stage 0 has samples of the tasks %v only", seen)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	all := strings.Join(names, " ")
	for _, want := range []string{"cpu.pprof", "flame.html", "heap.pprof"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s: %s", want, all)
		}
	}
	if strings.Contains(all, ".layshaft-") {
		t.Errorf("profiles of single processes are left: %s", all)
	}

	id := m.job().Job
	m.coord.Kill()
	m.startCoordinator()
	kept := filepath.Join(t.TempDir(), "kept.pprof")
	if _, stderr, code := m.layshaft("job", "profile", id, "-file", kept); code != 0 {
		t.Fatalf("job profile: exit code %d: %s", code, stderr)
	}
	got, err := os.ReadFile(kept)
	if want, _ := os.ReadFile(filepath.Join(dir, "cpu.pprof")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the kept profile has %d bytes, %v; the written one has %d", len(got), err, len(want))
	}
	html, stderr, code := m.layshaft("job", "profile", id, "-html", "-")
	if code != 0 || !strings.Contains(html, "<h2>stage 0 ") {
		t.Errorf("flame graphs: exit code %d: %s%.300s", code, stderr, html)
	}
	resp, err := http.Get(at(m.http) + "/jobs/" + id + "/profile")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || string(page) != html || resp.Header.Get("Content-Security-Policy") != flame.Policy {
		t.Errorf("the page has %d bytes, %v, policy %q", len(page), err, resp.Header.Get("Content-Security-Policy"))
	}

	if code := m.prepare("-maps", "1", "-each", "10").start().Wait(t); code != 0 {
		t.Fatal(code)
	}
	for _, j := range m.jobs() {
		if j.Job == id {
			continue
		}
		if _, stderr, code := m.layshaft("job", "profile", j.Job); code != 1 || !strings.Contains(stderr, "has no CPU profile; run its program with -profile DIR") {
			t.Errorf("a job without a profile: exit code %d: %s", code, stderr)
		}
	}
}
