package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// TestProfile profiles a run on a cluster. The profile of a stage has samples of the children of
// all workers, with their attempts as labels.
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
}
