package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/outbox"
)

// databaseArg names a database.
type databaseArg struct {
	Database string `arg:"" placeholder:"DATABASE" help:"Name of the database: LAYSHAFT_PG_name holds its connection string, or the path of a file with it. A connection string without a password is possible, too."`
}

type (
	pgInstallCmd struct {
		databaseArg
		Schema string `default:"public" placeholder:"NAME" help:"Schema for the functions layshaft_enqueue, layshaft_do_background and so on. Tables are in the schema layshaft."`
		Print  bool   `help:"Print the statements instead of running them."`
	}
	pgUninstallCmd struct {
		databaseArg
		Schema string `default:"public" placeholder:"NAME" help:"Schema given to install."`
		Print  bool   `help:"Print the statements instead of running them."`
	}
	pgStatusCmd struct {
		databaseArg
		outputFlag
	}
	pgForwardCmd struct {
		databaseArg
		clusterFlags
	}
)

// Run makes the outbox of a database.
func (c *pgInstallCmd) Run(ctx context.Context) error {
	if err := applyOrPrint(ctx, c.Database, outbox.Migration(c.Schema), c.Print); err != nil || c.Print {
		return err
	}
	fmt.Printf("The database has an outbox. Queue a task in a transaction:\n\n  SELECT %[1]s.layshaft_enqueue('index', '17');\n  SELECT layshaft.watch('products', 'index');  -- a task for each changed row\n\n"+
		"Forward the tasks with: layshaft coordinator -outbox %[2]s …   or: layshaft pg forward %[2]s\n", c.Schema, c.Database)
	return nil
}

// Run removes the outbox of a database.
func (c *pgUninstallCmd) Run(ctx context.Context) error {
	return applyOrPrint(ctx, c.Database, outbox.Removal(c.Schema), c.Print)
}

func applyOrPrint(ctx context.Context, database, statements string, printed bool) error {
	if printed {
		_, err := io.WriteString(os.Stdout, statements)
		return err
	}
	return outbox.Apply(ctx, database, statements)
}

// Run shows the state of an outbox.
func (c *pgStatusCmd) Run(ctx context.Context) error {
	s, err := outbox.Look(ctx, c.Database)
	if err != nil {
		return err
	}
	return c.print(s, func(w io.Writer) {
		row(w, "WAITING", "OLDEST", "REFUSED", "WATCHED TABLES")
		row(w, s.Waiting, s.Oldest.Round(time.Millisecond), s.Refused, strings.Join(s.Tables, ", "))
		if s.Reason != "" {
			fmt.Fprintf(w, "\nThe latest refusal: %s. The tasks are in the table layshaft.refused.\n", s.Reason)
		}
	})
}

// Run forwards the tasks of an outbox until the process ends.
func (c *pgForwardCmd) Run(ctx context.Context) error {
	flags := clientFlags{clusterFlags: c.clusterFlags, Timeout: 10 * time.Second}
	conn, err := flags.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := outbox.Look(ctx, c.Database); err != nil {
		return err
	}
	return outbox.Forward(ctx, outbox.Config{Database: c.Database, Submit: outbox.Over(conn.Conn()), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}
