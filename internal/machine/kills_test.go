package machine

import (
	"slices"
	"testing"
	"testing/fstest"
)

// Kills are read from the cgroups of either version, and from the machine.
func TestKills(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	root := fstest.MapFS{
		"proc/self/cgroup":                file("0::/a/b\n"),
		"proc/self/mountinfo":             file("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
		"sys/fs/cgroup/a/b/memory.events": file("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"),
		"proc/vmstat":                     file("nr_free_pages 9\noom_kill 5\n"),
	}
	before := readKills(root)
	if before["/sys/fs/cgroup/a/b/memory.events"] != 2 || before["/proc/vmstat"] != 5 {
		t.Fatal(before)
	}
	if killed, known, _ := readKills(root).Since(before); killed || !known {
		t.Error("no process was killed")
	}
	root["sys/fs/cgroup/a/b/memory.events"] = file("oom_kill 3\n")
	killed, _, evidence := readKills(root).Since(before)
	if !killed || !slices.Contains(evidence, "oom_kill in /sys/fs/cgroup/a/b/memory.events rose from 2 to 3") || len(evidence) != 2 {
		t.Errorf("%v, %q", killed, evidence)
	}
	if _, known, _ := (Kills{}).Since(Kills{}); known {
		t.Error("nothing is known")
	}
	v1 := fstest.MapFS{
		"proc/self/cgroup":                          file("4:memory:/x\n"),
		"proc/self/mountinfo":                       file("1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
		"sys/fs/cgroup/memory/x/memory.oom_control": file("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
	}
	if k := readKills(v1); k["/sys/fs/cgroup/memory/x/memory.oom_control"] != 7 {
		t.Error(k)
	}
}
