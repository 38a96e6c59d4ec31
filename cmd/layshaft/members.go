package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

type (
	memberListCmd struct{ clientFlags }
	memberAddCmd  struct {
		clientFlags
		Address string `arg:"" placeholder:"HOST:PORT" help:"Address (-listen or -advertise) of the coordinator."`
	}
	memberRemoveCmd struct {
		clientFlags
		Member string `arg:"" help:"ID or address of the coordinator."`
	}
	memberTransferCmd struct {
		clientFlags
		Member string `arg:"" optional:"" help:"ID or address of the next leader. Default: the coordinator that is the least behind."`
	}
)

// errSingle is the error of commands for several coordinators.
var errSingle = errors.New("this is a single coordinator; start it with -peers to make it one of several")

// memberTable writes the coordinators.
func memberTable(w io.Writer, all []report.Coordinator) {
	row(w, "ID", "ADDRESS", "LEADER", "VOTER", "BEHIND", "STATE")
	for _, m := range all {
		state, behind := string(m.State), fmt.Sprint(m.Behind)
		if m.State == report.Unreachable {
			behind = "-"
		}
		if m.Reason != "" {
			state += ": " + m.Reason
		}
		row(w, m.ID, m.Address, yesNo(m.Leader), yesNo(m.Voter), behind, state)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Run lists the coordinators.
func (c *memberListCmd) Run(ctx context.Context) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := client.Coordinators(ctx)
	if err != nil {
		return err
	}
	if len(all.Members) == 0 && all.Stale == "" {
		return errSingle
	}
	note(all.Stale)
	note(all.Warning)
	return c.print(append([]report.Coordinator{}, all.Members...), func(w io.Writer) { memberTable(w, all.Members) })
}

// note prints a line for the operator to standard error, unless it is empty.
func note(text string) {
	if text != "" {
		fmt.Fprintln(os.Stderr, "layshaft:", plain.Text(text))
	}
}

// findCoordinator returns the member with an ID or address.
func findCoordinator(all []report.Coordinator, name string) (report.Coordinator, error) {
	var names []string
	for _, m := range all {
		if m.ID == name || m.Address == name {
			return m, nil
		}
		names = append(names, m.ID+" at "+m.Address)
	}
	return report.Coordinator{}, fmt.Errorf("there is no coordinator %s; there are %s", name, strings.Join(names, ", "))
}

// staleWait is the pause before the members are listed again without a leader.
const staleWait = 200 * time.Millisecond

// coordinators returns the members for a command that changes them. It waits for a leader, at most
// for the timeout.
func coordinators(ctx context.Context, c *client.Client, timeout time.Duration) ([]report.Coordinator, error) {
	for begun := time.Now(); ; {
		all, err := c.Coordinators(ctx)
		switch {
		case err != nil:
			return nil, err
		case all.Stale != "" && time.Since(begun) > timeout:
			return nil, errors.New(all.Stale)
		case all.Stale == "" && len(all.Members) == 0:
			return nil, errSingle
		case all.Stale == "":
			return all.Members, nil
		}
		select {
		case <-time.After(staleWait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Run adds a coordinator.
func (c *memberAddCmd) Run(ctx context.Context) error {
	if err := checkAddress(c.Address); err != nil {
		return usageError{err}
	}
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := coordinators(ctx, client, c.Timeout); err != nil {
		return err
	}
	m, warning, err := client.AddCoordinator(ctx, c.Address)
	if err != nil {
		return err
	}
	note(warning)
	return c.print(m, func(w io.Writer) { row(w, "coordinator "+m.ID+" at "+m.Address+" is a member") })
}

// Run removes a coordinator.
func (c *memberRemoveCmd) Run(ctx context.Context) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := coordinators(ctx, client, c.Timeout)
	if err != nil {
		return err
	}
	m, err := findCoordinator(all, c.Member)
	if err != nil {
		return err
	}
	warning, err := client.RemoveCoordinator(ctx, m.ID)
	if err != nil {
		return err
	}
	note(warning)
	v := map[string]string{"id": m.ID, "address": m.Address, "state": "removed"}
	return c.print(v, func(w io.Writer) {
		row(w, "coordinator "+m.ID+" at "+m.Address+" is no member any longer; end its process")
	})
}

// transferLook is the pause between two looks for the next leader.
const transferLook = 100 * time.Millisecond

// Run makes another coordinator lead, and waits until it does.
func (c *memberTransferCmd) Run(ctx context.Context) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := coordinators(ctx, client, c.Timeout)
	if err != nil {
		return err
	}
	var from, to report.Coordinator
	for _, m := range all {
		if m.Leader {
			from = m
		}
	}
	if c.Member != "" {
		if to, err = findCoordinator(all, c.Member); err != nil {
			return err
		}
	}
	if err := client.TransferLeadership(ctx, from.ID, to.ID); err != nil {
		return err
	}
	look := time.NewTicker(transferLook)
	defer look.Stop()
	for {
		now, err := client.Coordinators(ctx)
		if err != nil {
			return err
		}
		for _, m := range now.Members {
			if m.Leader && now.Stale == "" && (m.ID != from.ID || from.ID == to.ID) {
				return c.print(m, func(w io.Writer) { row(w, "coordinator "+m.ID+" at "+m.Address+" leads") })
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
