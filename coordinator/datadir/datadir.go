// Package datadir owns the data directory of a coordinator: its lock, the name of the cluster, the
// journal, the store of programs, and backups of all of it.
package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/tally"
)

// Data is the open data directory of a coordinator. The directory contains:
//
//	cluster    its format, and the name of the cluster, made when the directory was made
//	place      where the directory is, so that a copy is noticed
//	journal/   decisions; see coordinator.OpenJournal
//	code/      programs from clients
//	tasks/     queued tasks; see taskserver.Open
//	lock       the lock of the process with the directory open
//
// Each of the three directories has a file FORMAT; see state.Format.
type Data struct {
	Dir     string     // path of the directory
	Cluster string     // name of the cluster
	Journal Journal    // open until Close
	Code    *CodeStore // programs from clients
	Files   Files      // small files of the servers

	unlock func() error
}

// Journal is the journal of a coordinator, on its disk or on several machines.
type Journal interface {
	coordinator.Journal
	// CheckSpace returns an error that wraps state.ErrDiskFull if n more bytes would use the
	// reserve of the disk.
	CheckSpace(n int64) error
	// Syncs returns the durations of the writes.
	Syncs() tally.Durations
	// Close releases the journal.
	Close() error
}

// Options configure a data directory. The zero value is a good default.
type Options struct {
	// NoSync lets the operating system decide when to write. An acknowledged change then survives
	// the end of the process, but not a crash of the machine. The default is to sync.
	NoSync bool
	// Reserve is how many bytes of the disk stay free: with less, no job is accepted. Zero means
	// 256 MiB, negative no limit.
	Reserve int64
	// AcceptLoss drops a damaged part of the journal, and everything after it, once, instead of an
	// error at the start. Config of taskserver has its own.
	AcceptLoss bool
	// Adopt opens a copy of another directory, which is gone, and continues its cluster. Fork makes
	// a cluster with a name of its own from a copy. Once the copy has been opened, they have no
	// effect. Without them it is refused with ErrCopied.
	Adopt, Fork bool
	// Log receives messages for the operator; nil means silence.
	Log *slog.Logger
}

// Open opens the directory dir, and creates it when it is missing. It fails when another process
// has it open, when it is damaged, or when the disk is full; the error names the way out. Close it
// after Run of the coordinator.
func Open(dir string, opt Options) (_ *Data, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := state.MakeDir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w; choose one that can be made and written", err)
	}
	d := &Data{Dir: dir}
	if d.unlock, err = state.Lock(dir); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := d.open(opt); err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	return d, nil
}

func (d *Data) open(opt Options) (err error) {
	if fileExists(filepath.Join(d.Dir, "replica")) {
		return fmt.Errorf("data directory %s: it belongs to one of several coordinators; start it with -peers (the own address alone, if it is the last one), or restore a backup of the group into a new directory for a coordinator without -peers", d.Dir)
	}
	if d.Cluster, err = clusterName(d.Dir, opt.AcceptLoss); err != nil {
		return fmt.Errorf("data directory %s: %w", d.Dir, err)
	}
	err = checkPlace(d.Dir, opt, waysOfCopy(d.Cluster), func() error {
		d.Cluster = newName()
		return writeCluster(d.Dir, d.Cluster)
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.Dir, err)
	}
	if d.Code, err = OpenCodeStore(filepath.Join(d.Dir, "code")); err != nil {
		return err
	}
	d.Files = FilesIn(d.Dir)
	d.Journal, err = journal.Open(filepath.Join(d.Dir, "journal"), journal.Options{
		NoSync: opt.NoSync, Reserve: opt.Reserve, AcceptLoss: opt.AcceptLoss, Log: opt.Log,
		Help: "restore a backup of the coordinator, or start with -accept-loss to continue without the damaged part"})
	return err
}

// TasksDir is the directory for taskserver.Open.
func (d *Data) TasksDir() string { return tasksDir(d.Dir) }

func tasksDir(dir string) string { return filepath.Join(dir, "tasks") }

// Close closes the directory.
func (d *Data) Close() error { return errors.Join(d.Journal.Close(), d.unlock()) }

// clusterFormat is the first line of the file cluster; the name of the cluster is the second.
var clusterFormat = state.Format{Kind: "cluster", Version: 1}

// clusterHelp is the way out of a bad file cluster.
const clusterHelp = "copy the files cluster and cluster.copy from a backup of the directory, or restore one, or start with -accept-loss under a new name: " +
	"workers then need new data directories"

// clusterName returns the name of the cluster of dir. It makes a new name for a directory without a
// journal, and with acceptLoss if the name is lost.
func clusterName(dir string, acceptLoss bool) (string, error) {
	b, err := state.ReadFile(filepath.Join(dir, "cluster"))
	if err == nil {
		line, name, _ := strings.Cut(string(b), "\n")
		if err := clusterFormat.Check(line, "another directory"); err != nil {
			return "", fmt.Errorf("file cluster: %w", err)
		}
		return strings.TrimSpace(name), nil
	}
	_, journalErr := os.Stat(filepath.Join(dir, "journal"))
	switch {
	case acceptLoss:
	case errors.Is(err, state.ErrDamaged):
		return "", fmt.Errorf("%w, and so is its copy; %s", err, clusterHelp)
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	case journalErr == nil:
		return "", fmt.Errorf("there is a journal but no file cluster; %s", clusterHelp)
	}
	name := newName()
	return name, writeCluster(dir, name)
}

func newName() string { return strings.ToLower(rand.Text()[:12]) }

// writeCluster writes the file cluster.
func writeCluster(dir, name string) error {
	return state.WriteFile(filepath.Join(dir, "cluster"), fmt.Appendf(nil, "%s\n%s\n", clusterFormat, name))
}
