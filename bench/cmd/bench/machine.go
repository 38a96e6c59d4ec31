package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/machine"
)

// writeMachine writes the machine and the versions of the programs.
func writeMachine(ctx context.Context, w io.Writer, p *programs) error {
	duck := "left out: " + p.noDuck
	if p.duck != "" {
		version, err := command(ctx, p.duckModule(), "go", "list", "-m", "-f", "{{.Version}}", "github.com/duckdb/duckdb-go/v2")
		if err != nil {
			return err
		}
		duck = "duckdb-go " + version
	}
	_, err := fmt.Fprintf(w, "%s, commit %s. %s, %d processors, %s memory, %s, %s. DuckDB: %s. Median (least–most).\n\n",
		time.Now().Format(time.DateOnly), commit(ctx, p.module), field("/proc/cpuinfo", "model name", runtime.GOARCH), runtime.NumCPU(),
		bytesize.Format(machine.Memory()), kernel(), runtime.Version(), duck)
	return err
}

// commit returns the commit of the sources, with a mark if they have changes.
func commit(ctx context.Context, module string) string {
	hash, err := command(ctx, module, "git", "rev-parse", "--short", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changes, err := command(ctx, module, "git", "status", "--porcelain"); err != nil || changes != "" {
		hash += " with changes"
	}
	return hash
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return runtime.GOOS + " " + strings.TrimSpace(string(b))
}

// field returns the first value of a name in a file of lines "name: value", or otherwise.
func field(path, name, otherwise string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}
