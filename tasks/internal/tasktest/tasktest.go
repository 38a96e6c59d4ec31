// Package tasktest runs a coordinator for tasks inside a test, an example or a benchmark, on a
// local port.
package tasktest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/wire"
)

// Server is a coordinator for tasks.
type Server struct {
	// Address of the coordinator, HOST:PORT.
	Address string
	// Gearman is the address for the Gearman protocol.
	Gearman string
	// HTTP is the address of the HTTP front end of Gearman.
	HTTP string

	tasks  *taskserver.Server
	grpc   *grpc.Server
	cancel context.CancelFunc
	family sync.WaitGroup
}

// Start starts a server on address; empty means a free port. Tasks are stored in dir, or in memory
// if dir is empty.
func Start(dir, address string) (*Server, error) { return StartCluster("", dir, address) }

// StartCluster is Start with a name of the cluster.
func StartCluster(cluster, dir, address string) (*Server, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	g, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	h, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, l.Close(), g.Close())
	}
	tasks, err := taskserver.Open(taskserver.Config{Dir: dir, Cluster: cluster})
	if err != nil {
		return nil, errors.Join(err, l.Close(), g.Close(), h.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{Address: l.Addr().String(), Gearman: g.Addr().String(), HTTP: h.Addr().String(), tasks: tasks, cancel: cancel,
		grpc: grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)}
	tasks.Register(s.grpc)
	s.family.Go(func() { _ = tasks.Run(ctx) })
	s.family.Go(func() { _ = tasks.ServeGearman(ctx, g, taskserver.GearmanOptions{}) })
	s.family.Go(func() { _ = tasks.ServeGearmanHTTP(ctx, h, taskserver.GearmanOptions{}) })
	s.family.Go(func() { _ = s.grpc.Serve(l) })
	return s, nil
}

// Stop stops the server. Its port is free when Stop returns.
func (s *Server) Stop() error {
	s.cancel()
	s.grpc.Stop()
	s.family.Wait()
	return s.tasks.Close()
}
