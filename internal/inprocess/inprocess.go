// Package inprocess lets package mapreduce submit jobs to a coordinator of its own process.
// Connections then stay in memory, and workers build a job's program from the functions of this
// process instead of starting a child. Find is set by package layshafttest; elsewhere no
// coordinator is in the process.
package inprocess

import (
	"context"
	"net"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
)

// Build makes the program of one slot.
type Build func(ctx context.Context, spec *job.Spec, slot int) (*job.Program, error)

// Cluster is a coordinator and workers inside this process.
type Cluster interface {
	// Dial connects a client to an address of the cluster.
	Dial(ctx context.Context, address string) (net.Conn, error)
	// Program returns the file that clients submit instead of their own, and its description. No
	// worker starts it.
	Program() (path string, code child.Code)
	// SetProgram sets how the program of a job is built, before the job is submitted. Each call of
	// newProcess stands for the start of a child process.
	SetProgram(id job.ID, newProcess func() Build)
}

// Find returns the cluster whose coordinator has an address, nil if it is not in this process. It
// must be set by an init function, if at all.
var Find = func(address string) Cluster { return nil }
