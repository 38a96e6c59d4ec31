package arrows

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Defaults that are a share of the machine come from internal/machine, which knows the limits of
// the process's cgroups. Nothing else asks for processors or memory.
func TestOnlyMachineReadsTheMachine(t *testing.T) {
	allowed := map[string]string{
		"internal/machine/machine.go": "it is the one place",
		"internal/child/env.go":       "it passes variables of these names on",
	}
	words := []string{"runtime.NumCPU(", "runtime.GOMAXPROCS(", "proc/meminfo", "proc/cpuinfo", "unix.Sysinfo", "syscall.Sysinfo", "memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota"}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, file)
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && file != root || name == "bench" || name == "e2e" || name == "tools" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || allowed[name] != "" {
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		line := 0
		for text := range strings.Lines(string(b)) {
			line++
			code, _, _ := strings.Cut(text, "//")
			for _, w := range words {
				if strings.Contains(code, w) {
					t.Errorf("%s:%d: %s: use machine.Processors or machine.Memory: they know the limits of the cgroup", name, line, w)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
