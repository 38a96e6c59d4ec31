package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var console = regexp.MustCompile("(?s)```console\n\\$ (layshaft report [^\n]*)\n(.*?)```\n")

// TestReportExamples runs the examples of docs/reports.md and compares their output.
func TestReportExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each example")
	}
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(docs, "reports.md")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	examples := console.FindAllStringSubmatch(string(content), -1)
	if len(examples) < 10 {
		t.Fatalf("found %d examples in %s, want at least 10", len(examples), path)
	}
	var script, files strings.Builder
	script.WriteString("env LAYSHAFT_OUTPUT=table\n")
	for i, e := range examples {
		fmt.Fprintf(&script, "exec sh $WORK/run%d\ncmp stdout want%d\n", i, i)
		fmt.Fprintf(&files, "-- run%d --\ncd %s\n%s\n-- want%d --\n%s", i, docs, e[1], i, e[2])
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "reports.txt"), []byte(script.String()+files.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("examples", func(t *testing.T) { // its end waits for the scripts, which run in parallel
		testscript.Run(t, testscript.Params{Dir: dir, UpdateScripts: *update})
	})
	if !*update {
		return
	}
	updated, err := os.ReadFile(filepath.Join(dir, "reports.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for i, e := range examples {
		_, want, _ := strings.Cut(string(updated), fmt.Sprintf("-- want%d --\n", i))
		want, _, _ = strings.Cut("\n"+want, "\n-- ")
		want = strings.TrimSpace(want) + "\n"
		text = strings.Replace(text, e[0], "```console\n$ "+e[1]+"\n"+want+"```\n", 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
