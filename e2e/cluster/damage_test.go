//go:build unix

package cluster

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// harms are what can become of the bytes of a file: flipped bits in every 4,096th byte, or an end
// that was never written.
var harms = map[string]func(b []byte) []byte{
	"flipped": func(b []byte) []byte {
		for i := 100; i < len(b); i += 4096 {
			b[i] ^= 0x10
		}
		return b
	},
	"torn": func(b []byte) []byte {
		used := len(bytes.TrimRight(b, "\x00"))
		return b[:used*2/3]
	},
}

// damage harms the files below dir that want names, and returns how many there are.
func damage(t testing.TB, dir, harm string, want func(path string) bool) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !want(path) {
			return ignoreMissing(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(b, "\x00")) > 100 {
			files++
		}
		b = harms[harm](b)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(b) // in place: the worker has it open
		return errors.Join(err, f.Truncate(int64(len(b))), f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// badger reports whether Badger stores data in a file.
func badger(path string) bool {
	return strings.HasSuffix(path, ".mem") || strings.HasSuffix(path, ".vlog") || strings.HasSuffix(path, ".sst")
}

// TestDamagedSegments harms the stored outputs of a worker before anybody has read them: they are
// found out, and made again.
func TestDamagedSegments(t *testing.T) {
	t.Parallel()
	for harm := range harms {
		t.Run(harm, func(t *testing.T) {
			t.Parallel()
			m := startMembers(t, config{workers: 2})
			r := m.prepare(shuffleHeavy...).do("map-5", "hold").start()
			victim := 1 - r.at("map-5", 1)
			m.committed(5)
			n := damage(t, filepath.Join(m.workerDir(victim), "jobs"), harm, func(string) bool { return true })
			if n == 0 {
				t.Fatal("no segments found")
			}
			r.release("map-5")
			r.succeeds()
			if j := m.job(); j.lost() == 0 {
				t.Errorf("no output counts as lost, though %d segments are damaged", n)
			}
			r.onlyLost(m.workers[victim].Cmd.Process.Pid)
		})
	}
}

// TestDamagedManifests harms the state of a worker that is down. What cannot be trusted is made
// again.
func TestDamagedManifests(t *testing.T) {
	t.Parallel()
	for harm := range harms {
		t.Run(harm, func(t *testing.T) {
			t.Parallel()
			m := startMembers(t, config{workers: 2})
			r := m.prepare().do("map-5", "hold").start()
			victim := 1 - r.at("map-5", 1)
			m.committed(5)
			dead := m.die(victim)
			n := damage(t, m.workerDir(victim), harm, badger)
			if n == 0 {
				t.Fatal("no state found")
			}
			w := m.restartWorker(victim)
			r.release("map-5")
			r.succeeds()
			r.onlyLost(dead)
			t.Logf("the worker with %d damaged files lives: %v", n, w.IsAlive())
		})
	}
}

// TestDamagedJournal harms the journal of a coordinator that is down: it refuses to start, and
// prints what to do.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	for harm := range harms {
		t.Run(harm, func(t *testing.T) {
			t.Parallel()
			m := startMembers(t, config{workers: 1})
			m.prepare().start().succeeds()
			m.coord.Kill()
			if n := damage(t, filepath.Join(m.dir, "coordinator", "journal"), harm, badger); n == 0 {
				t.Fatal("no journal found")
			}
			p := launch(t, "coordinator with a damaged journal", "layshaft", append([]string{"coordinator", "-data", filepath.Join(m.dir, "coordinator"),
				"-listen", "127.0.0.1:0", "-http", "none", "-gossip", "127.0.0.1:0"}, certificates()["coordinator"]...)...)
			if code := p.Wait(t); code == 0 || !strings.Contains(p.Err.String(), "journal") {
				t.Errorf("exit code %d, want a refusal that names the journal", code)
			}
			m.config.coord = append(certificates()["coordinator"], "-accept-loss")
			m.startCoordinator()
			m.awaitWorkers(1)
			m.prepare().start().awaitDone()
		})
	}
}

// TestBackup restores a backup that was made in the middle of a job in another place, and starts
// the coordinator there.
func TestBackup(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	m.prepare("-maps", "3").start().succeeds()
	r := m.prepare().do("map-5", "hold").start()
	r.at("map-5", 1)
	m.committed(5)
	file := filepath.Join(m.dir, "backup")
	if out, stderr, code := m.layshaft("coordinator", "backup", file); code != 0 {
		t.Fatalf("backup: exit code %d\n%s%s", code, out, stderr)
	}
	m.coord.Kill()
	if err := os.Rename(filepath.Join(m.dir, "coordinator"), filepath.Join(m.dir, "lost")); err != nil {
		t.Fatal(err)
	}
	restore := launch(t, "restore", "layshaft", "coordinator", "restore", file, "-data", filepath.Join(m.dir, "coordinator"))
	if code := restore.Wait(t); code != 0 {
		t.Fatalf("restore: exit code %d", code)
	}
	m.startCoordinator()
	m.awaitWorkers(2)
	r.release("map-5")
	r.succeeds()
	r.onceEach("map", "reduce")
	if js := m.jobs(); len(js) != 2 {
		t.Errorf("%d jobs are remembered, want 2", len(js))
	}
}
