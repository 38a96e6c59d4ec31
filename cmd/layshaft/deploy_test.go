package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/alecthomas/kong"
)

// The command lines in deploy/ must be valid for this program.
func TestDeployFilesNameFlags(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.DefaultEnvars("LAYSHAFT"))
	if err != nil {
		t.Fatal(err)
	}
	envs, flags := map[string]bool{}, map[string]bool{}
	_ = kong.Visit(parser.Model, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok {
			flags[f.Name] = true
			for _, env := range f.Envs {
				envs[env] = true
			}
		}
		return next(nil)
	})
	files := 0
	check := func(pattern string, find *regexp.Regexp, known map[string]bool) {
		paths, err := filepath.Glob(filepath.Join("..", "..", "deploy", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			files++
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range find.FindAllSubmatch(text, -1) {
				if !known[string(m[1])] {
					t.Errorf("%s names %s, which this program does not know", path, m[1])
				}
			}
		}
	}
	check("Dockerfile", regexp.MustCompile(`(LAYSHAFT_[A-Z_]+)`), envs)
	check("kubernetes/*/*.yaml", regexp.MustCompile(`(LAYSHAFT_[A-Z_]+)`), envs)
	check("kubernetes/*/*.yaml", regexp.MustCompile(`[\[ ]-([a-z][a-z-]+)[=\],]`), flags)
	check("systemd/*.service", regexp.MustCompile(`[ (]-([a-z][a-z-]+)`), flags)
	check("systemd/*.conf", regexp.MustCompile(`(?m)^#?([a-z][a-z-]+) =`), flags)
	if files < 14 {
		t.Errorf("only %d files found", files)
	}
}
