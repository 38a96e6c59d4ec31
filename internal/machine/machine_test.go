package machine

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"testing"
	"testing/fstest"
)

const (
	mountV2       = "35 25 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountMemoryV1 = "36 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	mountCPUV1    = "37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	meminfo       = "MemTotal:       16777216 kB\nMemFree:        1 kB\n"
	none          = math.MaxInt
)

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name       string
		files      map[string]string
		memory     int64
		processors int
	}{
		{"nothing can be read", nil, 4 << 30, none},
		{"no cgroups", map[string]string{"proc/meminfo": meminfo}, 16 << 30, none},
		{"not Linux's meminfo", map[string]string{"proc/meminfo": "memory: much\n"}, 4 << 30, none},
		{"version 2 without limits", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/user.slice\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/user.slice/memory.max": "max\n", "sys/fs/cgroup/user.slice/memory.high": "max\n", "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
		}, 16 << 30, none},
		{"version 2, a service with MemoryMax and CPUQuota", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/layshaft.service\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/system.slice/layshaft.service/memory.max": "2147483648\n", "sys/fs/cgroup/system.slice/layshaft.service/cpu.max": "150000 100000\n",
			"sys/fs/cgroup/system.slice/memory.max": "max\n", "sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
		}, 2 << 30, 2},
		{"version 2, memory.high is less than memory.max", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/a/memory.max": "2147483648\n", "sys/fs/cgroup/a/memory.high": "1073741824\n",
		}, 1 << 30, none},
		{"version 2, the middle ancestor has the smallest limits", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/slurm/job_7/step_0/task_0\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/slurm/job_7/step_0/memory.max": "8589934592\n", "sys/fs/cgroup/slurm/job_7/memory.max": "3221225472\n", "sys/fs/cgroup/slurm/memory.max": "max\n",
			"sys/fs/cgroup/slurm/job_7/step_0/cpu.max": "800000 100000\n", "sys/fs/cgroup/slurm/job_7/cpu.max": "50000 100000\n", "sys/fs/cgroup/slurm/cpu.max": "400000 100000\n",
		}, 3 << 30, 1},
		{"another cgroup's limits do not count", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/a/c/memory.max": "1024\n", "sys/fs/cgroup/a/b/c/memory.max": "1024\n", "sys/fs/cgroup/ab/memory.max": "1024\n",
		}, 16 << 30, none},
		{"version 2, a container with its own namespace", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "1 2 0:30 /../../docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			"sys/fs/cgroup/memory.max": "1073741824\n", "sys/fs/cgroup/cpu.max": "300000 100000\n",
		}, 1 << 30, 3},
		{"version 2, outside of the namespace's root", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../other\n", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/memory.max": "1073741824\n",
		}, 1 << 30, none},
		{"version 1, a container that sees the host's paths", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n",
			"proc/self/mountinfo":                                       "1 2 0:31 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n1 2 0:31 /docker/1f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpuacct,cpu\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":                "1073741824\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":                        "250000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":                       "100000\n",
			"sys/fs/cgroup/cpu/docker/1f/cpu.cfs_quota_us":              "1\n",
			"sys/fs/cgroup/cpu/docker/1f/cpu.cfs_period_us":             "100000\n",
			"sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes":      "1\n",
			"sys/fs/cgroup/memory/docker/1f/else/memory.limit_in_bytes": "1\n",
		}, 1 << 30, 3},
		{"version 1, nested", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "9:name=systemd:/x\n5:memory:/batch/job\n4:cpu,cpuacct:/batch/job\n0::/\n", "proc/self/mountinfo": mountMemoryV1 + mountCPUV1 + mountV2,
			"sys/fs/cgroup/memory/batch/job/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/batch/memory.limit_in_bytes": "536870912\n",
			"sys/fs/cgroup/cpu,cpuacct/batch/job/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/batch/job/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_period_us": "100000\n",
		}, 512 << 20, 4},
		{"a mount with a space in its path", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": `1 2 0:30 / /c\040g rw - cgroup2 cgroup2 rw` + "\n", "c g/a/memory.max": "1073741824\n",
		}, 1 << 30, none},
		{"files that make no sense", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "\n:\n0::/a\n", "proc/self/mountinfo": "\n - \n1 2 3 - cgroup2 x y\n" + mountV2,
			"sys/fs/cgroup/a/memory.max": "", "sys/fs/cgroup/a/cpu.max": "many\n", "sys/fs/cgroup/memory.max": "0\n", "sys/fs/cgroup/cpu.max": "0 0\n",
		}, 16 << 30, none},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, content := range test.files {
				root[name] = &fstest.MapFile{Data: []byte(content)}
			}
			if got := readMemory(root); got != test.memory {
				t.Errorf("memory %d, want %d", got, test.memory)
			}
			if got := readProcessors(root); got != test.processors {
				t.Errorf("processors %d, want %d", got, test.processors)
			}
		})
	}
}

func TestThisMachine(t *testing.T) {
	if n := Memory(); n < 1<<20 {
		t.Errorf("memory %d", n)
	}
	if n := Processors(); n < 1 || n > runtime.GOMAXPROCS(0) {
		t.Errorf("processors %d of %d", n, runtime.GOMAXPROCS(0))
	}
	t.Setenv("GOMAXPROCS", fmt.Sprint(runtime.GOMAXPROCS(0)))
	if n := Processors(); n != runtime.GOMAXPROCS(0) {
		t.Errorf("with GOMAXPROCS=%s processors %d", os.Getenv("GOMAXPROCS"), n)
	}
}
