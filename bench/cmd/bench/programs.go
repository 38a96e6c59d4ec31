package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// programs are the paths of the built programs.
type programs struct {
	// module is the root of the module.
	module                          string
	gen, limit, pipelines, layshaft string
	// duck is the path of the DuckDB program, or noDuck the reason for its absence.
	duck, noDuck string
	// former has the programs of the commit to compare with; nil if there is none.
	former *programs
}

// build builds the programs of this module, and the DuckDB program unless it is skipped or cannot
// be built.
func build(ctx context.Context, dir string, skipDuck bool) (*programs, error) {
	mod, err := command(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	p := &programs{module: filepath.Dir(mod)}
	if !strings.HasSuffix(mod, "go.mod") {
		return nil, errors.New("run it in the Layshaft module: go run ./bench/cmd/bench")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log.Print("building the programs")
	const all = "github.com/layshaft/layshaft/bench/cmd/"
	if err := goBuild(ctx, p.module, "CGO_ENABLED=0", dir+string(filepath.Separator), all+"gen", all+"limit", all+"pipelines", "github.com/layshaft/layshaft/cmd/layshaft"); err != nil {
		return nil, err
	}
	exe, err := command(ctx, "", "go", "env", "GOEXE")
	if err != nil {
		return nil, err
	}
	for name, path := range map[string]*string{"gen": &p.gen, "limit": &p.limit, "pipelines": &p.pipelines, "layshaft": &p.layshaft} {
		*path = filepath.Join(dir, name+exe)
	}
	if p.noDuck, err = cannotBuildDuck(ctx, skipDuck); err != nil {
		return nil, err
	}
	if p.noDuck != "" {
		log.Printf("without DuckDB: %s", p.noDuck)
		return p, nil
	}
	log.Print("building DuckDB's program, which takes minutes the first time")
	p.duck = filepath.Join(dir, "duck"+exe)
	if err := goBuild(ctx, p.duckModule(), "CGO_ENABLED=1", p.duck, "."); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *programs) duckModule() string { return filepath.Join(p.module, "bench", "duck") }

func goBuild(ctx context.Context, module, cgo, to string, packages ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-o", to}, packages...)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s in %s: %w\n%s", cgo, cmd, module, err, out)
	}
	return nil
}

// cannotBuildDuck returns the reason why the DuckDB program cannot be built, or "".
func cannotBuildDuck(ctx context.Context, skip bool) (string, error) {
	if skip {
		return "skipped by -skip-duck", nil
	}
	cc, err := command(ctx, "", "go", "env", "CC")
	if err != nil {
		return "", err
	}
	if compiler := strings.Fields(cc); len(compiler) > 0 {
		cc = compiler[0] // flags follow
	}
	if _, err := exec.LookPath(cc); err != nil {
		return fmt.Sprintf("it needs a C compiler, and %s is not here", cc), nil
	}
	return "", nil
}

// doneMark is an empty file in the folder of a complete data set.
const doneMark = ".done"

// generate creates a data set unless it exists.
func (p *programs) generate(ctx context.Context, data, set string, scale int) error {
	dir := filepath.Join(data, set)
	mark := filepath.Join(dir, doneMark)
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	log.Printf("making the data set %s in %s", set, dir)
	if _, err := command(ctx, "", p.gen, set, dir, strconv.Itoa(scale)); err != nil {
		return err
	}
	return os.WriteFile(mark, nil, 0o644)
}

// command runs a program in dir, or in the current directory if dir is empty. It returns the
// output without surrounding space.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
