// Serve runs a Gearman server whose queue is in memory, to be measured.
package main

import (
	"context"
	"flag"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4730", "address to listen on")
	profile := flag.String("cpuprofile", "", "file for a CPU profile")
	gc := flag.Int("gc", 200, "GOGC")
	core := flag.Bool("core", false, "use the core of the queue instead of the plain one")
	flag.Parse()
	debug.SetGCPercent(*gc)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	var b interface {
		gearman.Broker
		Run(context.Context) error
	} = gearman.NewMemory()
	if *core {
		b = gearman.NewQueued(queue.New(queue.Config{}), gearman.QueuedConfig{})
	}
	go b.Run(ctx)
	s := gearman.Server{Listener: l, Broker: b, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if err := s.Run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}
