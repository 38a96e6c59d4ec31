package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/mapreduce/vet"
)

// vetCmd runs the analyzer of pipelines.
type vetCmd struct {
	Packages []string `arg:"" optional:"" placeholder:"PACKAGE" help:"Packages, as for \"go vet\". Default: ./..."`
}

// vetTool is a variable of the environment that makes this program the tool of "go vet -vettool".
const vetTool = "LAYSHAFT_IS_VETTOOL"

// vetMain never returns if "go vet" has started this process to look at one package.
func vetMain() {
	if os.Getenv(vetTool) != "" {
		unitchecker.Main(vet.Analyzer)
	}
}

// errVetted means that vet found something, or that the code does not compile. The go command has
// printed which.
var errVetted = errors.New("vet: the lines above are findings, or errors of the compiler")

// Run lets the go command find and compile the packages. It prints findings to standard error.
func (c *vetCmd) Run(ctx context.Context, k *kong.Context) error {
	if len(c.Packages) == 0 {
		c.Packages = []string{"./..."}
	}
	gotool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("vet needs the go command: %w; install Go, or add its directory to PATH", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the path of this program: %w", err)
	}
	if err := c.find(ctx, k, gotool); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, gotool, append([]string{"vet", "-vettool=" + self}, c.Packages...)...)
	cmd.Env = append(os.Environ(), vetTool+"=1")
	cmd.Stdout, cmd.Stderr = k.Stdout, k.Stderr
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(*exec.ExitError)):
		return errVetted
	default:
		return err
	}
}

// find returns an error if the go command finds no packages to look at. It has then printed why.
func (c *vetCmd) find(ctx context.Context, k *kong.Context, gotool string) error {
	names := plain.Text(strings.Join(c.Packages, " "))
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("the working directory: %w", err)
	}
	// above the modules of a workspace, GOMOD is the null device too
	if out, err := exec.CommandContext(ctx, gotool, "env", "GOMOD", "GOWORK").Output(); err == nil && slices.Contains([]string{os.DevNull, os.DevNull + "\noff"}, strings.TrimSpace(string(out))) {
		return fmt.Errorf("vet %s: %s lies in no Go module; change to the directory of a module, or make one with \"layshaft new\" or \"go mod init\"", names, plain.Text(dir))
	}
	list := exec.CommandContext(ctx, gotool, append([]string{"list", "-find", "--"}, c.Packages...)...)
	list.Stderr = k.Stderr
	switch out, err := list.Output(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("vet %s: the go command cannot list these packages in %s, see above; name packages of its module, or ./... for all", names, plain.Text(dir))
	case len(bytes.TrimSpace(out)) == 0:
		return fmt.Errorf("vet %s: no Go package is there; name packages of the module of %s, or ./... for all", names, plain.Text(dir))
	}
	return nil
}
