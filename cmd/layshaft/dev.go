package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/dev"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
)

// devCmd runs a local cluster.
type devCmd struct {
	Workers      int `default:"3" placeholder:"NUMBER" help:"Number of workers."`
	Coordinators int `default:"1" placeholder:"NUMBER" help:"Number of coordinators. Three keep the same state, and any one may be killed. The ports of each are 10 above the ports of the one before."`

	Data   string `placeholder:"DIR" help:"Directory for the data of all processes, used again at the next start. Default: a temporary directory, removed at the end."`
	Listen string `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Address of the coordinator; port 0 chooses a free port."`
	HTTP   string `name:"http" default:"127.0.0.1:7071" placeholder:"HOST:PORT" help:"Address of / (status pages), /metrics, /healthz and /readyz; none turns it off."`
	Gossip string `default:"127.0.0.1:7946" placeholder:"HOST:PORT" help:"Address of the coordinator's gossip."`

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
	if d.Coordinators < 1 || d.Coordinators > 9 {
		return usageError{fmt.Errorf("-coordinators %d must be 1 to 9; three or five are wise", d.Coordinators)}
	}
	if err := checkFlags(flagCheck{d.Slots < 0, "slots", d.Slots, "must be 1 or more; omit it to divide the processors among the workers"}); err != nil {
		return err
	}
	if err := checkDatasets(d.Dataset); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(d.Listen); err == nil && port == "0" && d.Coordinators > 1 && d.Data != "" {
		return usageError{fmt.Errorf("-listen %s: several coordinators remember their addresses in -data; name a port", d.Listen)}
	}
	ports, err := d.ports()
	if err != nil {
		return usageError{err}
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
	} else if err = cmp.Or(state.MakeDir(dir, 0o700), state.CheckDir(dir)); err != nil {
		return fmt.Errorf("-data %s: %w; choose a directory that can be made and written", dir, err)
	}
	var peers, gossips []string
	for _, p := range ports {
		peers, gossips = append(peers, p.listen), append(gossips, p.gossip)
	}
	client, err := (&clientFlags{clusterFlags: clusterFlags{Cluster: strings.Join(peers, ",")}, Timeout: time.Minute}).dial()
	if err != nil {
		return err
	}
	defer client.Close()
	members := report.Coordinators{}
	cfg := dev.Config{Program: program, Out: os.Stderr,
		Ready: func(ctx context.Context) (err error) {
			if err = allJoined(ctx, client, d.Workers); err == nil {
				members, err = client.Coordinators(ctx)
			}
			return err
		},
		Welcome: func() { d.welcome(dir+note, &members) },
	}
	for i, p := range ports {
		name := "coordinator"
		if i > 0 {
			name = fmt.Sprintf("coordinator-%d", i+1)
		}
		args := slices.Concat([]string{"coordinator", "--listen", p.listen, "--http", p.http, "--gossip", p.gossip}, d.args(dir, name), d.gearmanArgs(p))
		if len(ports) > 1 {
			args = append(args, "--peers", strings.Join(peers, ","), "--join", strings.Join(gossips, ","))
		}
		cfg.First = append(cfg.First, dev.Process{Name: name, Args: args})
	}
	for i := range d.Workers {
		name := "worker-" + strconv.Itoa(i+1)
		cfg.Others = append(cfg.Others, dev.Process{Name: name, Args: append([]string{"worker", "--join", strings.Join(gossips, ",")}, append(d.args(dir, name), d.workArgs()...)...)})
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

// devPorts are the addresses of one coordinator; http, gearman and gearmanHTTP may be "none".
type devPorts struct{ listen, http, gossip, gearman, gearmanHTTP string }

// portStep is the distance of the ports of two coordinators.
const portStep = 10

// ports returns the addresses of the coordinators, and checks that they are free. It replaces ports
// 0 of the flags.
func (d *devCmd) ports() ([]devPorts, error) {
	all := make([]devPorts, d.Coordinators)
	for _, a := range []struct {
		flag    string
		address *string
		needed  bool
		of      func(*devPorts) *string
	}{
		{"listen", &d.Listen, true, func(p *devPorts) *string { return &p.listen }},
		{"http", &d.HTTP, false, func(p *devPorts) *string { return &p.http }},
		{"gossip", &d.Gossip, true, func(p *devPorts) *string { return &p.gossip }},
		{"gearman", &d.Gearman, false, func(p *devPorts) *string { return &p.gearman }},
		{"gearman-http", &d.GearmanHTTP, false, func(p *devPorts) *string { return &p.gearmanHTTP }},
	} {
		for i := range all {
			to := a.of(&all[i])
			if *to = *a.address; *to == "none" && !a.needed {
				continue
			}
			err := checkAddress(*to)
			if err == nil && i > 0 {
				*to, err = stepPort(*to, i*portStep)
			}
			if err == nil {
				*to, err = freePort(*to)
			}
			if err != nil {
				return nil, fmt.Errorf("-%s: %w", a.flag, err)
			}
			if i == 0 {
				*a.address = *to
			}
		}
	}
	return all, nil
}

// stepPort adds n to the port of an address.
func stepPort(address string, n int) (string, error) {
	host, name, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	port, err := net.LookupPort("tcp", name)
	return net.JoinHostPort(host, strconv.Itoa(port+n)), err
}

// gearmanArgs returns the Gearman arguments of a coordinator.
func (d *devCmd) gearmanArgs(p devPorts) []string {
	args := []string{"--gearman", p.gearman, "--gearman-http", p.gearmanHTTP, "--gearman-durability", d.GearmanDurability, "--gearman-keep", d.GearmanKeep.String()}
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

func (d *devCmd) welcome(data string, members *report.Coordinators) {
	several := ""
	if n := len(members.Members); n > 1 {
		several = report.Plural(n, "coordinator") + " and "
	}
	fmt.Printf(`
A cluster of %s%s is ready. Its data is in %s.

  run a pipeline   PROGRAM -cluster %s ...
  call functions   layshaft task do FUNCTION -cluster %s
`, several, report.Plural(d.Workers, "worker"), data, d.Listen, d.Listen)
	if host, port, err := net.SplitHostPort(d.Gearman); err == nil {
		fmt.Printf("                   gearman -h %s -p %s -f FUNCTION\n", host, port)
	}
	fmt.Printf("  look             layshaft status -cluster %s\n", d.Listen)
	if d.HTTP != "none" {
		fmt.Printf("                   http://%s/\n", d.HTTP)
	}
	if several != "" {
		var others []string
		for _, m := range members.Members {
			if m.Address != d.Listen {
				others = append(others, m.Address)
			}
		}
		fmt.Printf(`                   layshaft coordinator members -cluster %s
  the same from    -cluster %s
  kill the leader  pkill -KILL -f 'coordinator --listen %s'
`, d.Listen, strings.Join(others, " or -cluster "), members.Leader())
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
