package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/scaffold"
)

// newCmd writes a module.
type newCmd struct {
	Name    string `arg:"" help:"Path of the module, such as orders or example.com/orders. Its last element is the directory."`
	Input   string `arg:"" optional:"" placeholder:"FILE" help:"File to read: CSV, TSV, JSON Lines or text, also with gzip. The struct of its rows has its columns."`
	Replace string `placeholder:"DIR" help:"Use the checkout of Layshaft in DIR instead of a release. Needs no network."`
}

// Run writes the module and prints what to do next.
func (c *newCmd) Run(k *kong.Context) error {
	m := scaffold.Module{Path: c.Name, Dir: filepath.Base(c.Name), Input: c.Input, Replace: c.Replace}
	if v := version(); strings.HasPrefix(v, "v") && !strings.Contains(v, "+") {
		m.Version = v
	}
	files, err := m.Write()
	if err != nil {
		return usageError{err}
	}
	tidy := ""
	if c.Replace == "" {
		tidy = "  go mod tidy      # gets Layshaft, once; -replace DIR uses a checkout instead\n"
	}
	_, err = fmt.Fprintf(k.Stdout, "%s: %s\n\nNext:\n  cd %s\n%s  go test ./...\n  go run . %s\n  go run . -h\n", m.Dir, strings.Join(files, ", "), m.Dir, tidy, m.Argument())
	return err
}
