package mapreduce_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// A file more: only its records pass the steps before Persist.
func ExamplePersist() {
	var cleaned atomic.Int64 // in the program, to show what runs
	clean := mapreduce.Define("clean", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[string] {
		lines := mapreduce.Read(p, textio.Lines(dir))
		upper := mapreduce.Map(lines, func(line string) string {
			cleaned.Add(1)
			return strings.ToUpper(line)
		})
		return mapreduce.Sort(mapreduce.Persist(upper))
	})
	dir, _ := os.MkdirTemp("", "persist")
	defer os.RemoveAll(dir)
	in, local := filepath.Join(dir, "in"), mapreduce.Local{State: filepath.Join(dir, "state")}
	_ = os.MkdirAll(in, 0o755)
	for _, day := range []string{"monday", "tuesday"} {
		_ = os.WriteFile(filepath.Join(in, day), []byte(day+"\n"), 0o644)
		cleaned.Store(0)
		lines, err := clean.Collect(context.Background(), local, in)
		fmt.Println(lines, err, "cleaned:", cleaned.Load())
	}
	// Output:
	// [MONDAY] <nil> cleaned: 1
	// [MONDAY TUESDAY] <nil> cleaned: 1
}
