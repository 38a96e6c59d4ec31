// Serve runs a Gearman server over a task queue, to be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4730", "address to listen on")
	dir := flag.String("dir", "", "directory for background jobs; empty keeps them in memory")
	profile := flag.String("cpuprofile", "", "file for a CPU profile")
	gc := flag.Int("gc", 200, "GOGC")
	flag.Parse()
	debug.SetGCPercent(*gc)
	if err := serve(*addr, *dir, *profile); err != nil {
		log.Fatal(err)
	}
}

func serve(addr, dir, profile string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	d, err := desk.Open(desk.Config{Dir: dir, Log: logger})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx)
		stop()
	}()
	s := gearman.Server{Listener: l, Broker: desk.NewBroker(d, desk.BrokerConfig{}), Log: logger}
	if err = s.Run(ctx); ctx.Err() != nil {
		err = nil
	}
	stop()
	return errors.Join(err, <-ended, d.Close())
}
