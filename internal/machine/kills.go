package machine

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Kills counts processes that the kernel has killed for lack of memory, by the file with the count:
// of each cgroup of this process, and of the whole machine.
type Kills map[string]int64

// ReadKills returns the present counts. It is empty where the system does not report them.
func ReadKills() Kills { return readKills(os.DirFS("/")) }

func readKills(root fs.FS) Kills {
	k := Kills{}
	for _, g := range cgroups(root, "memory") {
		name := path.Join(g.dir, "memory.events")
		if g.version == 1 {
			name = path.Join(g.dir, "memory.oom_control")
		}
		k.read(root, name)
	}
	k.read(root, "proc/vmstat")
	return k
}

// read adds the count in a file of lines "NAME NUMBER".
func (k Kills) read(root fs.FS, name string) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		var n int64
		if _, err := fmt.Sscanf(line, "oom_kill %d", &n); err == nil {
			k["/"+name] = n
		}
	}
}

// Since compares with earlier counts. killed means that a count rose; known means that there are
// counts to compare. The evidence is one line for each file.
func (k Kills) Since(before Kills) (killed, known bool, evidence []string) {
	for _, name := range slices.Sorted(maps.Keys(k)) {
		was, ok := before[name]
		if !ok {
			continue
		}
		known = true
		if k[name] > was {
			killed = true
			evidence = append(evidence, fmt.Sprintf("oom_kill in %s rose from %d to %d", name, was, k[name]))
		} else {
			evidence = append(evidence, fmt.Sprintf("oom_kill in %s stayed %d", name, was))
		}
	}
	return killed, known, evidence
}
