package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/report"
)

// A coordinator with damaged files, and one without its directory, come back by themselves, as
// members with new IDs. The damaged files are kept and named.
func TestRejoin(t *testing.T) {
	needsElections(t)
	t.Parallel()
	g := startTrio(t, 3, Common{Version: "v1"}, nil)
	all := g.list(g.client(g.peers[0]), "three coordinators", led(3))
	for _, harm := range []string{"truncated", "removed"} {
		if testing.Short() && harm == "removed" {
			continue
		}
		leader, others := g.split(&all)
		lost := others[0]
		former := idOf(&all, lost.cfg.Listen)
		g.end(lost)
		if harm == "removed" {
			if err := os.RemoveAll(lost.cfg.Dir); err != nil {
				t.Fatal(err)
			}
		} else {
			segments, err := filepath.Glob(filepath.Join(lost.cfg.Dir, "replica", "log", "*.wal"))
			if err != nil || len(segments) != 1 {
				t.Fatal(segments, err)
			}
			if err := os.Truncate(segments[0], 100); err != nil {
				t.Fatal(err)
			}
		}
		g.start(lost.cfg.Listen, lost.cfg.Dir)
		all = g.list(g.client(leader.cfg.Listen), "three coordinators with a new one", func(all *report.Coordinators) bool {
			id := idOf(all, lost.cfg.Listen)
			return led(3)(all) && id != "" && id != former
		})
		kept := filepath.Join(lost.cfg.Dir, "replica.damaged.1")
		for _, m := range all.Members {
			if m.Address == lost.cfg.Listen && strings.Contains(m.Reason, kept) != (harm == "truncated") {
				t.Errorf("%s: %+v", harm, m)
			}
		}
	}
}

// idOf returns the ID of the coordinator at an address, or "".
func idOf(all *report.Coordinators, address string) string {
	for _, m := range all.Members {
		if m.Address == address {
			return m.ID
		}
	}
	return ""
}
