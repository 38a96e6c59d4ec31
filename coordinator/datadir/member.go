package datadir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/coordinator/recorder"
	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/state"
)

// Member is the data directory of one of several coordinators. The directory contains code/, lock
// and place as in a single coordinator, and
//
//	replica/   the replicated state; see package replica
//
// The directory of a single coordinator can become one: Lead passes its state to the group, once.
// Damaged replicated state is kept as replica.damaged.1, and so on.
type Member struct {
	Dir  string
	opt  Options
	code *CodeStore
	// single is the name of the cluster of a single coordinator, or "".
	single string
	unlock func() error
}

// OpenMember opens the directory dir, and creates it when it is missing. It returns the errors of
// Open.
func OpenMember(dir string, opt Options) (*Member, error) {
	m, err := openMember(dir, opt)
	if err != nil {
		return nil, err
	}
	if err := m.checkPlace(opt); err != nil {
		return nil, errors.Join(err, m.unlock())
	}
	return m, nil
}

// checkPlace refuses a copy of the directory of a member: with the ID of the original it would
// confirm what that one has not seen, and alone it would be a second cluster of the same name.
func (m *Member) checkPlace(opt Options) error {
	ways := "If that one is gone, start once with -adopt: this one then takes its place in the group. " +
		"For a cluster of its own, restore a backup of the group (layshaft coordinator restore)"
	if m.HasState() {
		ways = waysOfCopy(m.single)
	} else {
		opt.Fork = false
	}
	err := checkPlace(m.Dir, opt, ways, func() error {
		m.single = newName()
		return writeCluster(m.Dir, m.single)
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", m.Dir, err)
	}
	return nil
}

func openMember(dir string, opt Options) (_ *Member, err error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := state.MakeDir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w; choose one that can be made and written", err)
	}
	m := &Member{Dir: dir, opt: opt}
	if m.unlock, err = state.Lock(dir); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if m.code, err = OpenCodeStore(filepath.Join(dir, "code")); err == nil && m.HasState() {
		m.single, err = clusterName(dir, opt.AcceptLoss)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", dir, err), m.unlock())
	}
	return m, nil
}

// Recover makes the coordinator with a directory the only one of its group; see replica.Recover.
func Recover(ctx context.Context, dir string, opt Options, dry bool) (out replica.Recovered, err error) {
	switch {
	case !fileExists(dir):
		return out, fmt.Errorf("data directory %s does not exist on this machine; run the command where a coordinator that is left has its directory, or restore a backup with layshaft coordinator restore", dir)
	case !fileExists(filepath.Join(dir, "replica")) && fileExists(filepath.Join(dir, "journal")):
		return out, fmt.Errorf("data directory %s has the state of a single coordinator, which has no group to recover; start it with layshaft coordinator -data %s", dir, dir)
	case !fileExists(filepath.Join(dir, "replica")):
		return out, fmt.Errorf("data directory %s belongs to no coordinator of a group: it has no folder replica; give the directory that -data of the coordinator names", dir)
	}
	m, err := openMember(dir, opt)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if !dry { // whoever recovers a copy has lost the original
		opt.Adopt = true
		if err := m.checkPlace(opt); err != nil {
			return out, err
		}
	}
	out, err = replica.Recover(ctx, replica.Config{Dir: m.ReplicaDir(), Reserve: opt.Reserve, Log: opt.Log}, dry)
	switch {
	case errors.Is(err, replica.ErrNoGroup) && m.Aside() != "":
		err = fmt.Errorf("%w; its files were damaged and are kept in %s: recover another coordinator, or restore a backup", err, m.Aside())
	case errors.Is(err, replica.ErrDamaged):
		err = fmt.Errorf("%w; recover another coordinator, or restore a backup", err)
	}
	return out, err
}

// HasState reports whether the directory has the state of a single coordinator that no group has
// taken over.
func (m *Member) HasState() bool { return fileExists(filepath.Join(m.Dir, "journal")) }

// Single returns the name of the cluster of a single coordinator whose state the directory has, or
// "".
func (m *Member) Single() string { return m.single }

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ReplicaDir is the directory for replica.Open.
func (m *Member) ReplicaDir() string { return filepath.Join(m.Dir, "replica") }

// maxAside is the largest number of directories that SetAside keeps.
const maxAside = 3

// Aside returns the path of the last directory that SetAside has renamed, or "".
func (m *Member) Aside() string {
	last := ""
	for n := 1; n <= maxAside; n++ {
		if path := m.asidePath(n); fileExists(path) {
			last = path
		}
	}
	return last
}

func (m *Member) asidePath(n int) string { return fmt.Sprintf("%s.damaged.%d", m.ReplicaDir(), n) }

// SetAside renames the replicated state, which is damaged. The member then begins with an empty one
// and gets its content from the others.
func (m *Member) SetAside() (path string, err error) {
	for n := 1; n <= maxAside; n++ {
		if path = m.asidePath(n); fileExists(path) {
			continue
		}
		if err := os.Rename(m.ReplicaDir(), path); err != nil {
			return "", fmt.Errorf("data directory: %w", err)
		}
		return path, state.SyncDir(m.Dir)
	}
	return "", fmt.Errorf("data directory %s: files were damaged %d times before, and the disk may fail: check it, then remove the directories replica.damaged.N and start again", m.Dir, maxAside)
}

// Close releases the directory.
func (m *Member) Close() error { return m.unlock() }

// Lead returns the data of a tenure. It passes the state of a single coordinator to the group
// first, and fetches programs that this member lacks. Closing the data does not close the
// directory.
func (m *Member) Lead(t *replica.Tenure) (*Data, error) {
	d := &Data{Dir: m.Dir, unlock: func() error { return nil }}
	var err error
	if d.Cluster, err = t.Cluster(); err != nil {
		return nil, err
	}
	if d.Cluster == "" {
		d.Cluster = m.single
		if m.HasState() {
			if err := m.pass(t); err != nil {
				return nil, fmt.Errorf("data directory %s: pass its state to the group: %w", m.Dir, err)
			}
		}
		if d.Cluster == "" {
			d.Cluster = newName()
		}
		if err := t.SetCluster(d.Cluster); err != nil {
			return nil, err
		}
	}
	if err := m.setAside(d.Cluster); err != nil {
		return nil, err
	}
	if d.Code, err = m.code.share(t.Programs()); err != nil {
		return nil, err
	}
	d.Files = t.Files()
	d.Journal, err = replica.OpenJournal(t)
	return d, err
}

// setAside renames what the group has taken over.
func (m *Member) setAside(cluster string) error {
	if !m.HasState() {
		return nil
	}
	if m.single != cluster {
		return fmt.Errorf("data directory %s: it has the state of the cluster %s, and the group is %s; give this coordinator an empty directory", m.Dir, m.single, cluster)
	}
	for _, name := range []string{"tasks", "journal"} {
		if err := os.Rename(filepath.Join(m.Dir, name), filepath.Join(m.Dir, name+".single")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	m.opt.Log.Info("the group has the state of this coordinator; its former files are not needed any longer", "dir", m.Dir, "files", "journal.single tasks.single")
	return state.SyncDir(m.Dir)
}

// passBytes is the approximate size of the batches of pass.
const passBytes = 256 << 10

// pass proposes the state of a single coordinator. After an interruption it starts anew, with the
// same result.
func (m *Member) pass(t *replica.Tenure) error {
	j, err := journal.Open(filepath.Join(m.Dir, "journal"), journal.Options{Reserve: m.opt.Reserve, AcceptLoss: m.opt.AcceptLoss, Log: m.opt.Log})
	if err != nil {
		return err
	}
	defer j.Close()
	seq, content, err := j.LoadSnapshot()
	if err != nil {
		return err
	}
	err = replica.FillJournal(t, seq, content, j.Replay)
	if err != nil {
		return err
	}
	if err := m.passTasks(t); err != nil {
		return err
	}
	if err := m.passFiles(t); err != nil {
		return err
	}
	hashes, err := m.code.List()
	for _, hash := range hashes {
		if err == nil {
			err = (&CodeStore{m.code.dir, t.Programs()}).putShared(hash)
		}
	}
	return err
}

// passFiles proposes the small files. A damaged one is left out: its reader makes it anew.
func (m *Member) passFiles(t *replica.Tenure) error {
	from := FilesIn(m.Dir)
	names := []string{"owners"}
	for _, prefix := range []string{"listed/", recorder.Prefix, recorder.ProfilePrefix} {
		some, err := from.List(prefix)
		if err != nil {
			return err
		}
		names = append(names, some...)
	}
	for _, name := range names {
		content, err := from.Read(name)
		if err != nil {
			continue
		}
		if err := t.Files().Write(name, content); err != nil {
			return err
		}
	}
	return nil
}

func (m *Member) passTasks(t *replica.Tenure) error {
	if !fileExists(tasksDir(m.Dir)) {
		return nil
	}
	s, err := bodies.Open(tasksDir(m.Dir), bodies.Options{Reserve: m.opt.Reserve, AcceptLoss: m.opt.AcceptLoss, Log: m.opt.Log})
	if err != nil {
		return err
	}
	defer s.Close()
	snap := s.Snapshot()
	defer snap.Close()
	b := replica.NewBatch(replica.Tasks)
	err = snap.Each(func(key, value []byte) error {
		if b.Set(key, value); b.Len() < passBytes {
			return nil
		}
		full := b
		b = replica.NewBatch(replica.Tasks)
		return t.Propose(full).Wait()
	})
	if err == nil && !b.Empty() {
		err = t.Propose(b).Wait()
	}
	return err
}
