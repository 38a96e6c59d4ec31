package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker"
)

// workerPeers are connections to the workers of a cluster, made at their first use.
type workerPeers struct {
	client *client.Client
	creds  credentials.TransportCredentials

	// mu guards the fields below.
	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn // by address
	byName map[string]string           // addresses, by name and by ID
	asked  time.Time
}

// peers returns the workers of the client's cluster.
func (f *clientFlags) peers(c *client.Client) (*workerPeers, error) {
	p := &workerPeers{client: c, creds: insecure.NewCredentials(), conns: map[string]*grpc.ClientConn{}}
	if files := f.files(); files != (security.Files{}) {
		tls, err := security.Load(files, warnings())
		if err != nil {
			return nil, usageError{err}
		}
		p.creds = tls.Client(security.Worker)
	}
	return p, nil
}

func (p *workerPeers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// fresh is how long a list of workers is used before it is requested again.
const fresh = time.Second

// conn returns the connection to a worker with a name or an ID.
func (p *workerPeers) conn(ctx context.Context, name string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName[name] == "" && time.Since(p.asked) > fresh {
		ws, err := p.client.Workers(ctx)
		if err != nil {
			return nil, err
		}
		p.byName, p.asked = map[string]string{}, time.Now()
		for i := range ws {
			p.byName[ws[i].ID], p.byName[ws[i].Name] = ws[i].Address, ws[i].Address
		}
	}
	address := p.byName[name]
	if address == "" {
		return nil, fmt.Errorf("worker %s: %w", name, wire.ErrUnknownWorker)
	}
	if p.conns[address] == nil {
		conn, err := grpc.NewClient(address, append(wire.DialOptions(), grpc.WithTransportCredentials(p.creds))...)
		if err != nil {
			return nil, fmt.Errorf("worker %s: %w", name, err)
		}
		p.conns[address] = conn
	}
	return p.conns[address], nil
}

// outputs returns the outputs of a worker, nil for an unknown worker.
func (p *workerPeers) outputs(name string) worker.Outputs {
	conn, err := p.conn(context.Background(), name)
	if err != nil {
		return nil
	}
	return worker.Remote(conn, name)
}

// files returns the files of datasets, and the files of the client with a volume, which must be
// this machine.
func (p *workerPeers) files(volume string) (remote.Caller, error) {
	return remote.InPlaceOf(volume, &remote.Router{
		Holders: func(ctx context.Context, dataset string) (here, away []string, err error) {
			ws, err := p.client.AllWorkers(ctx)
			if err != nil {
				return nil, nil, err
			}
			here, away, offered := namesOf(ws, dataset)
			if !slices.Contains(offered, dataset) {
				return nil, nil, remote.UnknownDataset(dataset, offered)
			}
			return here, away, nil
		},
		Patience: time.Second,
		Find:     remote.Finder(func() (*grpc.ClientConn, error) { return p.client.Conn(), nil }),
		Peer: func(ctx context.Context, id string, _ bool) (remote.Caller, error) {
			conn, err := p.conn(ctx, id)
			if err != nil {
				return nil, err
			}
			return remote.Conn(conn), nil
		},
	})
}
