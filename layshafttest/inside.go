package layshafttest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/inprocess"
	"github.com/layshaft/layshaft/internal/job"
)

// innerCluster is the cluster as seen by package mapreduce.
type innerCluster struct {
	dial    func(ctx context.Context, address string) (net.Conn, error)
	program string
	code    child.Code

	// mu guards the fields below.
	mu   sync.Mutex
	jobs map[job.ID]func() inprocess.Build
}

func (i *innerCluster) Dial(ctx context.Context, address string) (net.Conn, error) {
	return i.dial(ctx, address)
}

func (i *innerCluster) Program() (path string, code child.Code) { return i.program, i.code }

func (i *innerCluster) SetProgram(id job.ID, newProcess func() inprocess.Build) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.jobs == nil {
		i.jobs = map[job.ID]func() inprocess.Build{}
	}
	i.jobs[id] = newProcess
}

// newProcess builds the program of a job as a new child process would.
func (i *innerCluster) newProcess(id job.ID) (inprocess.Build, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	newProcess := i.jobs[id]
	if newProcess == nil {
		return nil, fmt.Errorf("job %s was not submitted by this test", id)
	}
	return newProcess(), nil
}

// clusters holds the clusters of this process, by the address of their coordinator.
var clusters struct {
	// mu guards the fields below.
	mu        sync.Mutex
	added     int
	byAddress map[string]*innerCluster
}

func init() {
	inprocess.Find = func(address string) inprocess.Cluster {
		clusters.mu.Lock()
		defer clusters.mu.Unlock()
		if i, ok := clusters.byAddress[address]; ok {
			return i
		}
		return nil
	}
}

// add registers i with package mapreduce until remove is called. The address is unique in this
// process.
func (i *innerCluster) add() (address string, remove func()) {
	clusters.mu.Lock()
	defer clusters.mu.Unlock()
	n := clusters.added
	clusters.added++
	address = fmt.Sprintf("198.%d.%d.%d:7070", 18+n>>16&1, n>>8&255, n&255) // a network reserved for tests
	if clusters.byAddress == nil {
		clusters.byAddress = map[string]*innerCluster{}
	}
	clusters.byAddress[address] = i
	return address, func() {
		clusters.mu.Lock()
		defer clusters.mu.Unlock()
		delete(clusters.byAddress, address)
	}
}
