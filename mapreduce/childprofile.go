package mapreduce

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/dirs"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/job"
)

// A run on a cluster with Cluster.Profile profiles the processes with user code. Each writes its
// profile into the client's directory at the end of each attempt, before the attempt is committed:
//
//	DIR/.layshaft-profile-PROCESS-NUMBER.cpu   CPU profile since the attempt before
//	DIR/.layshaft-profile-PROCESS.heap         heap profile, when the heap was largest
//
// At the end of the job, the client merges and removes these files. So the profile of a process
// that is killed ends with its last attempt.

// profilePrefix begins the names of these files.
const profilePrefix = ".layshaft-profile-"

// childProfile is the profile of this process, a child of a worker.
var childProfile struct {
	// mu guards the fields below.
	mu      sync.Mutex
	profile inspection.ProcessProfile // nil before the first attempt
	process string                    // random
	n       int                       // number of written CPU profiles
}

// startChildProfile starts the profile, unless it runs.
func startChildProfile() (err error) {
	p := &childProfile
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.profile != nil {
		return nil
	}
	tools := inspection.Registered()
	if tools == nil {
		return fmt.Errorf("this program is built without it; the program must import _ %q", inspection.Package)
	}
	p.process = rand.Text()[:12]
	p.profile, err = tools.ProfileProcess()
	return err
}

// writeChildProfile writes the profiles into a directory of the client, and starts the next.
func writeChildProfile(ctx context.Context, dir string) error {
	p := &childProfile
	p.mu.Lock()
	defer p.mu.Unlock()
	cpu, heap, err := p.profile.Next()
	if err != nil {
		return err
	}
	p.n++
	err = writeProfile(ctx, filesys.Join(dir, fmt.Sprintf("%s%s-%d.cpu", profilePrefix, p.process, p.n)), cpu)
	if err == nil && heap != nil {
		err = writeProfile(ctx, filesys.Join(dir, profilePrefix+p.process+".heap"), heap)
	}
	return err
}

func writeProfile(ctx context.Context, path string, content []byte) error {
	fsys, err := filesys.Of(ctx, path)
	if err != nil {
		return err
	}
	f, err := fsys.Create(ctx, path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// profiled returns a stage that writes profiles of its attempts.
func profiled(spec *job.Spec, stage func(context.Context, *job.Run) error) func(context.Context, *job.Run) error {
	return func(ctx context.Context, run *job.Run) error {
		if err := startChildProfile(); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		if err := stage(ctx, run); err != nil {
			return err
		}
		if err := writeChildProfile(ctx, spec.Profile); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		return nil
	}
}

// lendProfile prepares the directory for the profiles of a run on a cluster.
func (t *settings) lendProfile(ctx context.Context) error {
	if t.Profile == "" || t.Explain {
		return nil
	}
	err := dirs.MkdirAll(t.Profile, 0o755)
	if err == nil {
		err = t.removeProfiles()
	}
	if err == nil {
		err = filesys.LendDir(ctx, t.Profile, profilePrefix)
	}
	if err != nil {
		return fmt.Errorf("profile %s: %w; name a directory that can be made and written", t.Profile, err)
	}
	return nil
}

// removeProfiles removes what processes have written.
func (t *settings) removeProfiles() error {
	entries, err := os.ReadDir(t.Profile)
	for _, e := range entries {
		if err == nil && strings.HasPrefix(e.Name(), profilePrefix) {
			err = os.Remove(filepath.Join(t.Profile, e.Name()))
		}
	}
	return err
}

// mergeProfiles merges what processes have written. store keeps the CPU profile at the coordinator.
func (t *settings) mergeProfiles(spec *job.Spec, store func(profile []byte) error) error {
	entries, err := os.ReadDir(t.Profile)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	var cpu, heap [][]byte
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), profilePrefix) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(t.Profile, e.Name()))
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		switch filepath.Ext(e.Name()) {
		case ".cpu":
			cpu = append(cpu, text)
		case ".heap":
			heap = append(heap, text)
		}
	}
	if len(cpu) == 0 {
		t.note("profile %s: no attempt of this run has ended, so there is no profile", t.Profile)
		return nil
	}
	if err := inspection.Registered().WriteProfiles(t.Profile, spec, cpu, heap); err != nil {
		return err
	}
	all, err := os.ReadFile(filepath.Join(t.Profile, inspection.CPUProfile))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if n := len(all); n > job.MaxProfile {
		t.note("profile %s: it has %s, too much for the coordinator, which keeps %s; it is only there", t.Profile, bytesize.Format(int64(n)), bytesize.Format(job.MaxProfile))
	} else if err := store(all); err != nil {
		t.note("profile %s: the coordinator does not keep it: %v", t.Profile, err)
	}
	return t.removeProfiles()
}
