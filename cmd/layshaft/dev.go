package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/dev"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/report"
)

// devCmd runs a local cluster.
type devCmd struct {
	Workers int    `default:"3" placeholder:"NUMBER" help:"Number of workers."`
	Data    string `placeholder:"DIR" help:"Directory for the data of all processes, used again at the next start. Default: a temporary directory, removed at the end."`
	Listen  string `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Address of the coordinator; port 0 chooses a free port."`
	HTTP    string `name:"http" default:"127.0.0.1:7071" placeholder:"HOST:PORT" help:"Address of / (status as JSON), /metrics, /healthz and /readyz; none turns it off."`
	Gossip  string `default:"127.0.0.1:7946" placeholder:"HOST:PORT" help:"Address of the coordinator's gossip."`

	Slots    int               `placeholder:"NUMBER" help:"Number of parallel attempts on each worker. Default: the processors, divided by the workers."`
	Memory   bytesize.Size     `placeholder:"BYTES" help:"Memory of the attempts on each worker before they spill to disk. Default: 60 % of the machine's memory, divided by the workers."`
	Dataset  map[string]string `placeholder:"NAME=DIR" help:"Offer the files of DIR as dataset://NAME/ on every worker, read-only. With NAME=DIR:rw, jobs may also write outputs there. May be repeated."`
	FileRoot []string          `sep:"," placeholder:"DIR" help:"Let jobs read and write file:// paths below DIR. May be repeated."`
	Function map[string]string `mapsep:"none" placeholder:"NAME=COMMAND" help:"Run COMMAND, by sh -c, for each task of the function NAME, in the slots of every worker. May be repeated."`
	ChildEnv []string          `sep:"," placeholder:"NAME" help:"Variable of this environment that programs and commands get, beside common ones such as PATH, HOME and AWS_*. NAME* means all that begin with NAME. May be repeated."`
	gearmanFlags
	outboxFlags
	AnyUser  bool   `help:"Accept clients of all users of this machine. They can then run any code as this user. Without it, only processes of this user, and of root, are accepted; on Linux."`
	LogLevel string `enum:"debug,info,warn,error" default:"info" help:"Lowest level to log: debug, info, warn or error."`
}

// Run runs the cluster until ctx ends.
func (d *devCmd) Run(ctx context.Context) (err error) {
	if d.Workers < 1 || d.Workers > 64 {
		return usageError{fmt.Errorf("-workers %d must be 1 to 64", d.Workers)}
	}
	if err := checkFlags(flagCheck{d.Slots < 0, "slots", d.Slots, "must be 1 or more; omit it to divide the processors among the workers"}); err != nil {
		return err
	}
	if err := checkDatasets(d.Dataset); err != nil {
		return err
	}
	for _, a := range []struct {
		flag    string
		address *string
		needed  bool
	}{{"listen", &d.Listen, true}, {"http", &d.HTTP, false}, {"gossip", &d.Gossip, true}, {"gearman", &d.Gearman, false}} {
		if *a.address == "none" && !a.needed {
			continue
		}
		if err = checkAddress(*a.address); err == nil {
			*a.address, err = freePort(*a.address)
		}
		if err != nil {
			return usageError{fmt.Errorf("-%s: %w", a.flag, err)}
		}
	}
	signal.Ignore(syscall.SIGPIPE) // when the terminal closes, the reader of the output may end first
	if err := keeper.Start(); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	dir, note := d.Data, ""
	if dir == "" {
		if dir, err = os.MkdirTemp("", "layshaft-dev-"); err != nil {
			return err
		}
		note = ", removed at the end"
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	client, err := (&clientFlags{clusterFlags: clusterFlags{Cluster: d.Listen}, Timeout: time.Minute}).dial()
	if err != nil {
		return err
	}
	defer client.Close()
	cfg := dev.Config{Program: program, Out: os.Stderr,
		First:   dev.Process{Name: "coordinator", Args: append([]string{"coordinator", "--listen", d.Listen, "--http", d.HTTP, "--gossip", d.Gossip}, append(d.args(dir, "coordinator"), d.gearmanArgs()...)...)},
		Ready:   func(ctx context.Context) error { return allJoined(ctx, client, d.Workers) },
		Welcome: func() { d.welcome(dir + note) },
	}
	for i := range d.Workers {
		name := "worker-" + strconv.Itoa(i+1)
		cfg.Others = append(cfg.Others, dev.Process{Name: name, Args: append([]string{"worker", "--join", d.Gossip}, append(d.args(dir, name), d.workArgs()...)...)})
	}
	return dev.Run(ctx, cfg)
}

// args returns the arguments of every process.
func (d *devCmd) args(dir, name string) []string {
	args := []string{"--data", filepath.Join(dir, name), "--until-eof", "--log-level", d.LogLevel}
	if !d.AnyUser {
		args = append(args, "--same-user")
	}
	if d.Data == "" {
		args = append(args, "--no-sync")
	}
	return args
}

// gearmanArgs returns the Gearman arguments of the coordinator.
func (d *devCmd) gearmanArgs() []string {
	args := []string{"--gearman", d.Gearman, "--gearman-http", d.GearmanHTTP, "--gearman-durability", d.GearmanDurability, "--gearman-keep", d.GearmanKeep.String()}
	for _, database := range d.Outbox {
		args = append(args, "--outbox", database)
	}
	args = append(args, "--gearman-max-payload", fmt.Sprint(int64(d.GearmanMaxPayload)))
	for _, r := range d.GearmanRetries {
		args = append(args, "--gearman-retries", r)
	}
	if d.GearmanExceptions {
		args = append(args, "--gearman-exceptions")
	}
	if d.GearmanRetryFailed {
		args = append(args, "--gearman-retry-failed")
	}
	return args
}

// workArgs returns the arguments of workers.
func (d *devCmd) workArgs() []string {
	slots, memory := d.Slots, d.Memory
	if slots == 0 {
		slots = (machine.Processors() + d.Workers - 1) / d.Workers
	}
	if memory == 0 {
		memory = bytesize.Size(machine.Memory() / 10 * 6 / int64(d.Workers))
	}
	args := []string{"--allow-shipped-code", "--slots", strconv.Itoa(slots), "--memory", memory.String()}
	for name, dir := range d.Dataset {
		args = append(args, "--dataset", name+"="+dir)
	}
	for _, dir := range d.FileRoot {
		args = append(args, "--file-root", dir)
	}
	for _, name := range d.ChildEnv {
		args = append(args, "--child-env", name)
	}
	for name, command := range d.Function {
		args = append(args, "--function", name+"="+command)
	}
	return args
}

// allJoined blocks until n workers have a lease.
func allJoined(ctx context.Context, client *client.Client, n int) error {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		workers, err := client.Workers(ctx)
		if err == nil && len(workers) >= n || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

func (d *devCmd) welcome(data string) {
	fmt.Printf(`
A cluster of %s is ready. Its data is in %s.

  run a pipeline   PROGRAM -cluster %s ...
  call functions   layshaft task do FUNCTION -cluster %s
`, report.Plural(d.Workers, "worker"), data, d.Listen, d.Listen)
	if host, port, err := net.SplitHostPort(d.Gearman); err == nil {
		fmt.Printf("                   gearman -h %s -p %s -f FUNCTION\n", host, port)
	}
	fmt.Printf("  look             layshaft status -cluster %s\n", d.Listen)
	if d.HTTP != "none" {
		fmt.Printf("                   http://%s/\n", d.HTTP)
	}
	fmt.Print("  end              ^C\n\n")
}

// freePort replaces port 0 by a free port, so that several processes can use the same address,
// and checks that the address is free.
func freePort(addr string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("%w; is another cluster running? -listen, -http, -gossip and -gearman choose other addresses", err)
	}
	return l.Addr().String(), l.Close()
}
