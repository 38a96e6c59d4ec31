package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/outbox"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/postgres"
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
	pgReplicateCmd struct {
		databaseArg
		clusterFlags
		Function    string        `required:"" placeholder:"NAME" help:"Function of the tasks."`
		Publication string        `default:"layshaft" placeholder:"NAME" help:"Publication with the tables. Their owner makes it: CREATE PUBLICATION layshaft FOR TABLE products, prices."`
		Slot        string        `default:"layshaft" placeholder:"NAME" help:"Logical replication slot. It keeps the changes while no process reads them."`
		Create      bool          `help:"Make the slot if it is missing. Changes before are not seen: read all data once afterwards."`
		MaxLag      bytesize.Size `default:"10GiB" placeholder:"BYTES" help:"Drop the slot, and end, when the database keeps more of its log for it, so that the log does not fill its disk."`
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
		for i, slot := range s.Slots {
			if i == 0 {
				fmt.Fprintln(w)
				row(w, "SLOT", "IN USE", "LAG")
			}
			row(w, slot.Name, slot.Active, bytesize.Format(slot.Lag))
		}
		for _, slot := range s.Slots {
			if !slot.Active {
				fmt.Fprintf(w, "\nNo process reads slot %[1]s, so the database keeps its log, %[2]s so far, and its disk may fill. Start its reader, such as layshaft pg replicate %[3]s -slot %[1]s -function …, or drop it with SELECT pg_drop_replication_slot(%[4]s). Without the slot, read all data once.\n",
					plain.Text(slot.Name), bytesize.Format(slot.Lag), plain.Text(postgres.Display(c.Database)), plain.Text(postgres.Literal(slot.Name)))
			}
		}
		if s.Reason != "" {
			fmt.Fprintf(w, "\nThe latest refusal: %s. The tasks are in the table layshaft.refused.\n", plain.Text(s.Reason))
		}
	})
}

// Run queues a task for each changed row until the process ends.
func (c *pgReplicateCmd) Run(ctx context.Context) error {
	if c.MaxLag < 1 {
		return usageError{fmt.Errorf("-max-lag %d must be at least 1", c.MaxLag)}
	}
	conn, err := (&clientFlags{clusterFlags: c.clusterFlags, Timeout: 10 * time.Second}).dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return outbox.Replicate(ctx, outbox.Replication{
		Config:   outbox.Config{Database: c.Database, Submit: outbox.Over(conn.Conn()), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
		Function: c.Function, Publication: c.Publication, Slot: c.Slot, Create: c.Create, MaxLag: int64(c.MaxLag),
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
