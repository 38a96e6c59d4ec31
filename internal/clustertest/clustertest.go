// Package clustertest is how package mapreduce reaches a cluster that layshafttest runs inside the process of a test: over
// connections in memory, and with the functions of the test itself as the program. Nothing else uses it; without such a cluster it
// costs one look into an empty map for each job.
package clustertest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
)

// Build makes the program of one slot.
type Build func(ctx context.Context, spec *job.Spec, slot int) (*job.Program, error)

// Cluster is a cluster inside this process.
type Cluster struct {
	// Dial connects a client to an address of the cluster.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Program is the file that clients submit in place of their own, and Code what it is. No worker starts it.
	Program string
	Code    child.Code

	// mu guards the fields below.
	mu   sync.Mutex
	jobs map[job.ID]func() Build
}

// Submits notes how the program of a job is made; each call of process stands for the start of a process. A job that is submitted again is
// built as the last time.
func (c *Cluster) Submits(id job.ID, process func() Build) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs == nil {
		c.jobs = map[job.ID]func() Build{}
	}
	c.jobs[id] = process
}

// Process returns what stands for a new process of a job's program.
func (c *Cluster) Process(id job.ID) (Build, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	process := c.jobs[id]
	if process == nil {
		return nil, fmt.Errorf("job %s was not submitted by this test", id)
	}
	return process(), nil
}

// clusters are those of this process, by the address of their coordinator.
var clusters struct {
	// mu guards the fields below.
	mu        sync.Mutex
	made      int
	byAddress map[string]*Cluster
}

// Add makes c known, at the address of its coordinator that it returns and that is given to no other cluster, until remove is called.
func Add(c *Cluster) (address string, remove func()) {
	clusters.mu.Lock()
	defer clusters.mu.Unlock()
	n := clusters.made
	clusters.made++
	address = fmt.Sprintf("198.%d.%d.%d:7070", 18+n>>16&1, n>>8&255, n&255) // a network that is kept for tests
	if clusters.byAddress == nil {
		clusters.byAddress = map[string]*Cluster{}
	}
	clusters.byAddress[address] = c
	return address, func() {
		clusters.mu.Lock()
		defer clusters.mu.Unlock()
		delete(clusters.byAddress, address)
	}
}

// At returns the cluster whose coordinator has an address; nil when that is not inside this process.
func At(address string) *Cluster {
	clusters.mu.Lock()
	defer clusters.mu.Unlock()
	return clusters.byAddress[address]
}
