package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/manual"
)

type (
	completionCmd struct {
		Shell string `arg:"" help:"The shell: bash, zsh or fish."`
	}
	manualCmd struct {
		Dir string `arg:"" help:"Directory for the pages; created if missing."`
	}
)

// Run prints a script for a shell.
func (c *completionCmd) Run(k *kong.Context) error {
	script, err := manual.Of(k.Model).Completion(c.Shell)
	if err != nil {
		return usageError{err}
	}
	_, err = io.WriteString(k.Stdout, script)
	return err
}

// Run writes the manual pages.
func (c *manualCmd) Run(k *kong.Context) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	pages := manual.Of(k.Model).Man(version())
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(page), 0o644); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(k.Stdout, "%d manual pages in %s\n", len(pages), c.Dir)
	return err
}
