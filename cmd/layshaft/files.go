package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/state"
)

type (
	backupCmd struct {
		clientFlags
		File string `arg:"" help:"The file, created when the backup is complete; - is standard output."`
	}
	restoreCmd struct {
		outputFlag
		File string `arg:"" help:"The backup; - is standard input."`
		Data string `required:"" placeholder:"DIR" help:"Directory to create; it must not exist, or be empty. Then start a coordinator with it, in place of the old one."`
	}
	recoverCmd struct {
		outputFlag
		Data   string `required:"" placeholder:"DIR" help:"Directory of the coordinator that is left. Its process must have ended."`
		DryRun bool   `help:"Show what the directory has, and change nothing. Of several coordinators that are left, recover the one with the latest term, and then the latest entry."`
	}
	certInitCmd struct {
		outputFlag
		Dir string `default:"certs" placeholder:"DIR" help:"Directory for the CA and its certificates. Keep it secret: ca-key.pem permits everything."`
	}
	certIssueCmd struct {
		outputFlag
		Dir      string        `default:"certs" placeholder:"DIR" help:"Directory of the CA."`
		Role     string        `required:"" enum:"coordinator,worker,client,reader" placeholder:"ROLE" help:"Role of the certificate: coordinator, worker, client (submit, cancel, drain, read) or reader (read only)."`
		Name     string        `required:"" placeholder:"NAME" help:"Owner of the certificate: a host, a person, a program."`
		Host     []string      `sep:"," placeholder:"HOST" help:"Host names and addresses of a coordinator or worker, as used by browsers."`
		Validity time.Duration `default:"8760h" help:"Validity of the certificate. Certificates cannot be revoked, so shorter is safer."`
	}
)

// Run backs up a coordinator.
func (c *backupCmd) Run(ctx context.Context) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	if c.File == "-" {
		return client.Backup(ctx, os.Stdout)
	}
	to, err := state.Replaceable(c.File)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".layshaft-backup-*")
	if err != nil {
		return err
	}
	err = errors.Join(client.Backup(ctx, f), f.Sync())
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	v := map[string]any{"file": c.File, "bytes": info.Size()}
	return c.print(v, func(w io.Writer) { row(w, c.File, bytesize.Format(info.Size())) })
}

// Run restores a coordinator.
func (c *restoreCmd) Run() error {
	if err := checkFlags(checkData(c.Data)); err != nil {
		return err
	}
	in := os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	if err := datadir.Restore(c.Data, in, datadir.Options{}); err != nil {
		return err
	}
	return c.print(map[string]string{"data": c.Data}, func(w io.Writer) {
		row(w, fmt.Sprintf("%s is ready; start it with: layshaft coordinator -data %s", c.Data, c.Data))
	})
}

// Run makes a coordinator the only one of its group.
func (c *recoverCmd) Run(ctx context.Context) error {
	if err := checkFlags(checkData(c.Data)); err != nil {
		return err
	}
	r, err := datadir.Recover(ctx, c.Data, datadir.Options{}, c.DryRun)
	if err != nil {
		return err
	}
	others := append([]string{}, r.Others...)
	v := map[string]any{"id": r.ID, "address": r.Address, "others": others, "term": r.Term, "entry": r.Last, "recovered": !c.DryRun}
	return c.print(v, func(w io.Writer) {
		lost := strings.Join(others, " and ")
		if c.DryRun {
			row(w, fmt.Sprintf("coordinator %s at %s of a group with %s: term %d, entry %d", r.ID, r.Address, cmp.Or(lost, "no others"), r.Term, r.Last))
			return
		}
		row(w, fmt.Sprintf("coordinator %s at %s is the only one of its group, with everything up to entry %d of term %d", r.ID, r.Address, r.Last, r.Term))
		if lost != "" {
			row(w, fmt.Sprintf("lost: what %s confirmed without it, in the last moments before they were lost", lost))
			row(w, fmt.Sprintf("next: start it with the same -peers; remove the directories of %s, start them, and run layshaft coordinator members add for each", lost))
			row(w, "never start the others with their former directories: they would be a second cluster of the same name")
		}
	})
}

// Run creates a CA.
func (c *certInitCmd) Run() error {
	if err := security.InitCA(c.Dir); err != nil {
		return err
	}
	ca := filepath.Join(c.Dir, "ca.pem")
	return c.print(map[string]string{"ca": ca}, func(w io.Writer) {
		row(w, fmt.Sprintf("%s is the certificate of the CA; next: layshaft cert issue -dir %s -role coordinator -name HOST", ca, c.Dir))
	})
}

// Run creates a certificate.
func (c *certIssueCmd) Run() error {
	if c.Validity <= 0 {
		return usageError{fmt.Errorf("-validity %v must be more than 0s: the certificate would never be valid", c.Validity)}
	}
	cert, key, err := security.Issue(c.Dir, security.Request{Role: security.Role(c.Role), Name: c.Name, Hosts: c.Host, Validity: c.Validity})
	if err != nil {
		return err
	}
	ca := filepath.Join(c.Dir, "ca.pem")
	return c.print(map[string]string{"ca": ca, "cert": cert, "key": key}, func(w io.Writer) {
		row(w, fmt.Sprintf("-tls-ca %s -tls-cert %s -tls-key %s", ca, cert, key))
	})
}
