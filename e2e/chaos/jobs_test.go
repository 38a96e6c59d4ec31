//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// writeText writes files of random words, other words for each seed.
func writeText(t *testing.T, dir string, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 4 {
		var b strings.Builder
		for b.Len() < 100_000 {
			fmt.Fprintf(&b, "w%d", int(r.ExpFloat64()*3000))
			b.WriteByte(" \n"[r.IntN(8)/7])
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%d.txt", seed, i)), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// jobs counts the words of dataset in again and again, into dataset out.
type jobs struct {
	s    *site
	want string // sorted lines of a right output

	// mu guards the field below.
	mu   sync.Mutex
	runs []string // names of the outputs
}

func newJobs(s *site) *jobs {
	counts := map[string]int{}
	for i := range s.workers {
		names, _ := filepath.Glob(filepath.Join(s.dataset(i, "in"), "*.txt"))
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				s.t.Fatal(err)
			}
			for w := range strings.FieldsSeq(string(b)) {
				counts[w]++
			}
		}
	}
	var lines []string
	for w, n := range counts {
		lines = append(lines, w+"\t"+strconv.Itoa(n))
	}
	slices.Sort(lines)
	return &jobs{s: s, want: strings.Join(lines, "\n")}
}

func (j *jobs) run(ctx context.Context) {
	var group sync.WaitGroup
	for c := range 2 {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("run-%d-%d", c, i)
				args := append([]string{"-cluster", j.s.clientAddress(), "-out", "dataset://out/" + name}, j.s.certificate("client")...)
				cmd := exec.Command(filepath.Join(binDir, "wordcount"), append(args, "dataset://in/*.txt")...)
				out, err := cmd.CombinedOutput()
				if err != nil {
					j.s.t.Errorf("job %s: %v\n%s", name, err, out)
					continue
				}
				j.mu.Lock()
				j.runs = append(j.runs, name)
				j.mu.Unlock()
			}
		})
	}
	group.Wait()
}

func (j *jobs) check() string {
	wrong, unlisted := 0, 0
	for _, name := range j.runs {
		lines, more, err := j.read(name)
		if err != nil {
			wrong++
			j.s.t.Errorf("output of job %s: %v", name, err)
			continue
		}
		unlisted += more
		slices.Sort(lines)
		if got := strings.Join(lines, "\n"); got != j.want {
			wrong++
			j.s.t.Errorf("output of job %s has %d lines, want %d; or other counts", name, len(lines), strings.Count(j.want, "\n")+1)
		}
	}
	return fmt.Sprintf("%d jobs, %d wrong outputs, %d unlisted parts of lost workers", len(j.runs), wrong, unlisted)
}

// read reads an output as its manifest lists it. unlisted is the number of other files beside the
// parts. A worker that was away while a job ended may bring back the part of an attempt that did
// not count.
func (j *jobs) read(name string) (lines []string, unlisted int, err error) {
	var dirs []string
	for i := range j.s.workers {
		dirs = append(dirs, filepath.Join(j.s.dataset(i, "out"), name))
	}
	m, err := newestManifest(dirs)
	if err != nil {
		return nil, 0, err
	}
	listed := map[string]bool{}
	for _, p := range m.Parts {
		copies := 0
		for _, dir := range dirs {
			b, err := os.ReadFile(filepath.Join(dir, p.Name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, 0, err
			}
			copies++
			lines = slices.AppendSeq(lines, strings.FieldsFuncSeq(string(b), func(r rune) bool { return r == '\n' }))
		}
		if copies != 1 || listed[p.Name] {
			return nil, 0, fmt.Errorf("part %s is on %d workers, want 1; listed before: %v", p.Name, copies, listed[p.Name])
		}
		listed[p.Name] = true
	}
	for _, dir := range dirs {
		parts, _ := filepath.Glob(filepath.Join(dir, "part-*"))
		for _, p := range parts {
			if !listed[filepath.Base(p)] {
				unlisted++
				j.s.t.Logf("%s is not in the manifest", p)
			}
		}
	}
	return lines, unlisted, nil
}

// outputManifest is the part of a manifest that the test needs.
type outputManifest struct {
	Complete bool
	Parts    []struct{ Name string }
}

// newestManifest returns the newest manifest in dirs. It must be complete.
func newestManifest(dirs []string) (m outputManifest, err error) {
	var path string
	var newest time.Time
	for _, dir := range dirs {
		p := filepath.Join(dir, "manifest.json")
		if fi, err := os.Stat(p); err == nil && fi.ModTime().After(newest) {
			path, newest = p, fi.ModTime()
		}
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err == nil && !m.Complete {
		err = fmt.Errorf("%s is incomplete: %s", path, b)
	}
	return m, err
}
