package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/internal/state"
)

// The file place has the place of a data directory: its inode with the time when it was made, and
// the machine with the path. Nobody can set the former, so a copy has others. A directory whose
// marks both differ is a copy started elsewhere. A volume that another machine mounts keeps its
// inode; a directory that is restored at its old path keeps machine and path.
var placeFormat = state.Format{Kind: "place", Version: 1}

// ErrCopied means that a data directory is a copy of another one.
var ErrCopied = errors.New("it is a copy of another data directory")

type place struct{ inode, machine string }

func placeOf(dir string) place {
	return place{inodeOf(dir), machineID() + " " + dir}
}

// machineID returns the ID of this installation, or else the name of the host.
func machineID() string {
	if b, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b))
	}
	name, _ := os.Hostname()
	return name
}

// waysOfCopy are the ways out for a copy of the directory of a single coordinator.
func waysOfCopy(cluster string) string {
	return "If that one is gone, start once with -adopt: this one then continues the cluster " + cluster +
		". With -fork it becomes a cluster of its own, with new workers"
}

// checkPlace compares the place of dir with the stored one, and stores it if it is new. If the
// directory is at another place and shall become another cluster, it calls fork before. ways are
// the ways out for a copy.
func checkPlace(dir string, opt Options, ways string, fork func() error) error {
	file, here := filepath.Join(dir, "place"), placeOf(dir)
	b, err := state.ReadFile(file)
	lines := strings.Split(string(b), "\n")
	known := err == nil && len(lines) >= 3 && placeFormat.Check(lines[0], "another directory") == nil
	if !known && err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, state.ErrDamaged) {
		return err
	}
	was := here
	if known {
		was = place{lines[1], lines[2]}
	}
	if was.inode != here.inode && was.machine != here.machine && !opt.Adopt && !opt.Fork {
		machine, path, _ := strings.Cut(was.machine, " ")
		return fmt.Errorf("%w, which was at %s of machine %s. %s", ErrCopied, path, machine, ways)
	}
	if known && was == here {
		return nil
	}
	if opt.Fork && was.machine != here.machine {
		if err := fork(); err != nil {
			return err
		}
	}
	return state.WriteFile(file, fmt.Appendf(nil, "%s\n%s\n%s\n", placeFormat, here.inode, here.machine))
}
