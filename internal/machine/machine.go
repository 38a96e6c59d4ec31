// Package machine reports the memory and processors available to this process. Defaults that are
// a share of the machine are computed from its numbers.
//
// On Linux a cgroup may allow less than the machine has: through MemoryMax= and CPUQuota= of
// systemd, in a Slurm job, or in a container. A process belongs to one cgroup of each hierarchy,
// and every ancestor of that cgroup limits it too. This package therefore reads the process's own
// cgroup and all its ancestors, and takes the smallest limit:
//
//	/proc/self/cgroup       0::/system.slice/layshaft.service
//	/proc/self/mountinfo    ... / /sys/fs/cgroup ... - cgroup2 ...
//	                        /sys/fs/cgroup/system.slice/layshaft.service/memory.max   max
//	                        /sys/fs/cgroup/system.slice/memory.max                    8589934592
//
// Version 1 (a hierarchy for each controller) and version 2 (one for all) are supported, also
// both at once. Ancestors outside a container are invisible; the container's own limit is at its
// root.
package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// unknownMemory is assumed where the system does not report its memory: 4 GiB.
const unknownMemory = 4 << 30

// Memory returns the bytes of memory available to this process: the machine's memory, or the
// smallest limit of its cgroups if that is less. It returns 4 GiB if neither can be read.
func Memory() int64 { return limits().memory }

// Processors returns the number of processors available to this process: GOMAXPROCS, or the
// smallest CPU quota of its cgroups, rounded up, if that is less. Quotas are ignored if the
// environment variable GOMAXPROCS is set.
func Processors() int {
	n := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" {
		return n
	}
	return min(n, limits().processors)
}

type allowance struct {
	memory     int64
	processors int // math.MaxInt without a quota
}

// limits reads the system once, as defaults must not change while a process runs.
var limits = sync.OnceValue(func() allowance {
	root := os.DirFS("/")
	return allowance{memory: readMemory(root), processors: readProcessors(root)}
})

// readMemory is Memory for the file system root.
func readMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	if b, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil && kib > 0 {
			least = kib << 10
		}
	}
	for _, g := range cgroups(root, "memory") {
		// The kernel slows a process above memory.high down, so it is a limit as well.
		names := []string{"memory.max", "memory.high"}
		if g.version == 1 {
			names = []string{"memory.limit_in_bytes"}
		}
		for _, name := range names {
			if n, ok := readNumber(root, path.Join(g.dir, name)); ok && n > 0 {
				least = min(least, n)
			}
		}
	}
	if least == math.MaxInt64 {
		return unknownMemory
	}
	return least
}

// readProcessors returns the smallest CPU quota below root in processors, rounded up, and
// math.MaxInt without one.
func readProcessors(root fs.FS) int {
	least := math.MaxInt
	for _, g := range cgroups(root, "cpu") {
		var quota, period int64
		if g.version == 1 {
			var ok bool
			if quota, ok = readNumber(root, path.Join(g.dir, "cpu.cfs_quota_us")); !ok {
				continue
			}
			if period, ok = readNumber(root, path.Join(g.dir, "cpu.cfs_period_us")); !ok {
				continue
			}
		} else {
			b, err := fs.ReadFile(root, path.Join(g.dir, "cpu.max")) // "QUOTA PERIOD" or "max PERIOD"
			if err != nil {
				continue
			}
			if _, err := fmt.Sscanf(string(b), "%d %d", &quota, &period); err != nil {
				continue
			}
		}
		if quota > 0 && period > 0 {
			least = min(least, int((quota+period-1)/period))
		}
	}
	return least
}

// readNumber reads a file with one number. It reports false for "max" and for a missing file.
func readNumber(root fs.FS, name string) (int64, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}

// cgroup is one cgroup that limits this process.
type cgroup struct {
	version int    // 1 or 2
	dir     string // its directory, relative to the root of the file system
}

// cgroups returns the cgroups that limit this process by a controller: the innermost of each
// hierarchy first, then its ancestors up to the mounted root.
func cgroups(root fs.FS, controller string) (all []cgroup) {
	own := ownCgroups(root, controller)
	for _, m := range cgroupMounts(root, controller) {
		dir, ok := own[m.version]
		if !ok {
			continue
		}
		// A mount may show only a subtree of the hierarchy, as in a container. For a cgroup
		// outside the subtree, the mounted root is the nearest visible ancestor.
		below, inside := strings.CutPrefix(dir, strings.TrimSuffix(m.root, "/")+"/")
		if !inside || strings.HasPrefix(below, "..") {
			below = "."
		}
		for below = path.Clean(below); ; below = path.Dir(below) {
			all = append(all, cgroup{m.version, path.Join(m.dir, below)})
			if below == "." {
				break
			}
		}
	}
	return all
}

// ownCgroups returns the path of this process's cgroup in its hierarchy, by version. The lines of
// /proc/self/cgroup are NUMBER:CONTROLLERS:PATH; version 2 has number 0 and no controllers.
func ownCgroups(root fs.FS, controller string) map[int]string {
	own := map[int]string{}
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return own
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			own[2] = parts[2]
		} else if slices.Contains(strings.Split(parts[1], ","), controller) {
			own[1] = parts[2]
		}
	}
	return own
}

// mount is a mounted cgroup hierarchy.
type mount struct {
	version int
	root    string // the cgroup that the mount shows as its root
	dir     string // where it is mounted, relative to the root of the file system
}

// cgroupMounts returns the mounted hierarchies of a controller. The lines of /proc/self/mountinfo
// are "ID PARENT DEVICE ROOT DIRECTORY OPTIONS [FIELDS] - TYPE SOURCE OPTIONS". Spaces and other
// special characters of paths are octal escapes.
func cgroupMounts(root fs.FS, controller string) (mounts []mount) {
	f, err := root.Open("proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 5 || len(what) < 3 {
			continue
		}
		m := mount{root: unescape(where[3]), dir: strings.TrimPrefix(unescape(where[4]), "/")}
		switch what[0] {
		case "cgroup2":
			m.version = 2
		case "cgroup":
			m.version = 1
		}
		if m.version == 2 || m.version == 1 && slices.Contains(strings.Split(what[2], ","), controller) {
			mounts = append(mounts, m)
		}
	}
	return mounts
}

// unescape replaces the octal escapes of /proc/self/mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
