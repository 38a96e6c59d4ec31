package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/node"
	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/statsd"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/worker"
)

func (f *tlsFlags) files() security.Files {
	return security.Files{CA: f.TLSCA, Cert: f.TLSCert, Key: f.TLSKey}
}

// logger returns the log of a process.
func (f *memberFlags) logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.LogLevel)) // the grammar has checked it
	return f.log(level)
}

// audit returns the audit log, which ignores the log level.
func (f *memberFlags) audit() *slog.Logger { return f.log(slog.LevelInfo) }

func (f *memberFlags) log(level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	to := io.MultiWriter(os.Stderr, &logTail)
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(plain.LinesOfJSON(to), opts))
	}
	return slog.New(slog.NewTextHandler(to, opts))
}

// logTail has the end of the log of this process, for a debug bundle.
var logTail report.LogTail

// nodeConfig returns the configuration of both roles.
func (f *memberFlags) nodeConfig(listen, http, at string, join []string, log *slog.Logger) (node.Common, error) {
	c := node.Common{Listen: listen, HTTP: http, Gossip: at, Advertise: f.Advertise, Join: join, GossipAllowed: f.GossipAllow, Label: f.Label, TLS: f.files(),
		Insecure: f.Insecure, SameUser: f.SameUser, Version: version(), Log: log, Diagnose: &report.Process{Version: version(), Log: &logTail}}
	if http == "none" {
		c.HTTP = ""
	}
	addresses := map[string]string{"-listen": listen, "-gossip": at}
	if c.HTTP != "" {
		addresses["-http"] = http
	}
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		if err := checkAddress(addresses[name]); err != nil {
			return c, usageError{fmt.Errorf("%s: %w", name, err)}
		}
	}
	for _, address := range join {
		if err := checkAddress(address); err != nil {
			return c, usageError{fmt.Errorf("-join: %w", err)}
		}
	}
	text, err := f.key()
	if err != nil || text == "" {
		return c, err
	}
	if c.GossipKey, err = gossip.ParseKey(text); err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// key returns the text of the gossip key; empty if there is none.
func (f *gossipFlags) key() (string, error) {
	text := f.GossipKey
	if f.GossipKeyFile != "" {
		if text != "" {
			return "", usageError{errors.New("-gossip-key and -gossip-key-file are both given; one is enough")}
		}
		b, err := os.ReadFile(f.GossipKeyFile)
		if err != nil {
			return "", usageError{err}
		}
		if err := security.CheckKeyMode(f.GossipKeyFile); err != nil {
			warnings().Warn("the gossip key is not secret", "err", err)
		}
		text = string(b)
	}
	return strings.TrimSpace(text), nil
}

// checkAddress returns an error if an address is not HOST:PORT. It does not resolve the host.
func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, such as 127.0.0.1:7070", address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q: the port must be a number up to 65535", address)
	}
	return nil
}

// untilEOF returns a context that also ends with standard input if -until-eof is given, so that a
// process does not outlive its parent.
func (f *memberFlags) untilEOF(ctx context.Context) context.Context {
	if !f.UntilEOF {
		return ctx
	}
	signal.Ignore(os.Interrupt, syscall.SIGHUP) // signals of a terminal are for the parent process
	ctx, end := context.WithCancel(ctx)
	go func() { // ends with standard input, or with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	return ctx
}

// checkFlags returns the error of the first wrong flag, or nil.
func checkFlags(flags ...flagCheck) error {
	for _, f := range flags {
		if f.is {
			return usageError{fmt.Errorf("-%s %v %s", f.flag, f.value, f.why)}
		}
	}
	return nil
}

// flagCheck is the result of checking one flag.
type flagCheck struct {
	is    bool
	flag  string
	value any
	why   string
}

// check validates flags beyond the grammar.
func (c *coordinatorCmd) check() error {
	if c.Statsd != "" {
		if err := statsd.Check(c.Statsd, c.StatsdPrefix); err != nil {
			return usageError{err}
		}
	}
	return checkFlags(
		checkData(c.Data),
		flagCheck{c.Lease < time.Second, "lease", c.Lease, "is below 1s; heartbeats could not keep it"},
		flagCheck{c.LocalityWait < 0, "locality-wait", c.LocalityWait, "is negative; 0s means no wait"},
		flagCheck{c.MaxAttempts < 1, "max-attempts", c.MaxAttempts, "must be 1 or more: a task needs at least one attempt"},
		flagCheck{!(c.StragglerRatio >= 1 || c.StragglerRatio == 0), "straggler-ratio", c.StragglerRatio, "must be 1 or more, or 0 for never: below 1 every attempt would be a straggler"},
		flagCheck{c.StatsdEvery < time.Second, "statsd-every", c.StatsdEvery, "must be 1s or more"},
		flagCheck{c.BackupEvery < time.Second, "backup-every", c.BackupEvery, "must be 1s or more"},
		flagCheck{c.BackupKeep < 1, "backup-keep", c.BackupKeep, "must be 1 or more"},
		flagCheck{c.BlockFor < 0, "block-for", c.BlockFor, "is negative; 0s means that no worker is blocked"},
		flagCheck{c.KeepFailed < 0, "keep-failed", c.KeepFailed, "is negative; 0s drops them when the job fails"},
		flagCheck{c.Retain < 0, "retain", c.Retain, "is negative; 0s means no limit"},
		flagCheck{c.ClientLease < 0, "client-lease", c.ClientLease, "is negative; 0s means no limit"},
		flagCheck{c.KeepCode < 0, "keep-code", c.KeepCode, "is negative; 0s removes a program with the last job that needs it"},
		flagCheck{c.MaxCode == 0, "max-code", c.MaxCode, "must be more than 0; to refuse programs, run workers without -allow-shipped-code"},
		flagCheck{c.KeepDead < 0, "keep-dead", c.KeepDead, "is negative; 0s means no limit"},
		flagCheck{c.MaxDead < 1, "max-dead", c.MaxDead, "must be 1 or more"},
		c.checkReserve(c.Data),
	)
}

const (
	// minMemory is the least memory of a slot: sort runs of a few inputs and outputs fit.
	minMemory = 8 << 20
	// minQuota is the least space for outputs: a few small outputs fit.
	minQuota = 16 << 20
)

// check validates flags beyond the grammar, and sets missing values.
func (w *workerCmd) check() error {
	if w.Slots == 0 {
		w.Slots = machine.Processors()
	}
	if w.Memory == 0 {
		w.Memory = bytesize.Size(machine.Memory() / 10 * 6)
	}
	w.Tags = trimmed(w.Tags)
	least := bytesize.Size(w.Slots) * minMemory
	err := checkFlags(
		checkData(w.Data),
		flagCheck{w.Slots < 1, "slots", w.Slots, "must be 1 or more; omit it for one per processor"},
		flagCheck{w.Reserved < 0 || w.Reserved > w.Slots, "reserved", w.Reserved, fmt.Sprintf("must be 0 to %d, the number of slots", w.Slots)},
		flagCheck{w.Memory < least, "memory", w.Memory, fmt.Sprintf("is too little: the minimum for %s is %v, %v each; give more memory or fewer slots", report.Plural(w.Slots, "slot"), least, bytesize.Size(minMemory))},
		flagCheck{w.Quota > 0 && w.Quota < minQuota, "quota", w.Quota, fmt.Sprintf("is too little for any output; give at least %v, or 0 for no limit", bytesize.Size(minQuota))},
		flagCheck{w.Drain < 0, "drain", w.Drain, "is negative; 0s means that the worker leaves at once"},
		flagCheck{w.Grace < 0, "grace", w.Grace, "is negative; 0s means that user code is killed at once"},
		w.checkReserve(w.Data),
	)
	if err != nil {
		return err
	}
	return checkDatasets(w.Dataset)
}

// trimmed returns words without surrounding space, and without empty ones.
func trimmed(words []string) (out []string) {
	for _, word := range words {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}

// datasetName is the form of a dataset name, which becomes part of paths.
var datasetName = regexp.MustCompile(`^[\pL\pN][\pL\pN._-]*$`)

// checkDatasets returns an error for names that cannot be used in paths.
func checkDatasets(datasets map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(datasets)) {
		if !datasetName.MatchString(name) {
			return usageError{fmt.Errorf("-dataset %s=%s: the name %q must consist of letters, digits, dots, dashes and underscores, and start with a letter or digit, because paths are dataset://NAME/FILE", name, datasets[name], name)}
		}
	}
	return nil
}

// checkData checks the directory of -data. An empty one comes from a variable that is not set; the
// files would lie in the working directory.
func checkData(dir string) flagCheck {
	return flagCheck{dir == "", "data", `""`, "is empty; name a directory, or . for the working directory"}
}

// checkReserve checks that the reserve is not larger than the disk.
func (f *memberFlags) checkReserve(dir string) flagCheck {
	disk := bytesize.Size(diskSize(dir))
	return flagCheck{disk > 0 && f.Reserve >= disk, "reserve", f.Reserve, fmt.Sprintf("is not less than the size of the disk of %s, %v: all data would be refused", dir, bytesize.Format(int64(disk)))}
}

// options returns the options of the Gearman protocol.
func (f *gearmanFlags) options() (taskserver.GearmanOptions, error) {
	o := taskserver.GearmanOptions{Memory: f.GearmanDurability == "none", RetryFailed: f.GearmanRetryFailed, Keep: f.GearmanKeep,
		Exceptions: f.GearmanExceptions, MaxPayload: int(f.GearmanMaxPayload), FunctionRetries: map[string]int{}}
	for _, text := range f.GearmanRetries {
		function, number := "", text
		at := strings.LastIndexByte(text, '=')
		if at >= 0 {
			function, number = text[:at], text[at+1:]
		}
		n, err := strconv.Atoi(number)
		switch {
		case err != nil || n < 0 || n > maxRetries || at == 0:
			return o, usageError{fmt.Errorf("-gearman-retries %q is not a number up to %d, or FUNCTION=NUMBER", text, maxRetries)}
		case function != "":
			o.FunctionRetries[plain.Bytes(function)] = n
		default:
			o.Retries = n
		}
	}
	return o, checkFlags(
		flagCheck{f.GearmanKeep < 0, "gearman-keep", f.GearmanKeep, "must not be negative"},
		flagCheck{f.GearmanMaxPayload < 1<<10 || f.GearmanMaxPayload > 1<<30, "gearman-max-payload", f.GearmanMaxPayload, "must be 1K to 1G"},
	)
}

const maxRetries = 65_000

// Run runs a coordinator.
func (c *coordinatorCmd) Run(ctx context.Context, k *kong.Context) error {
	log := c.logger()
	common, err := c.nodeConfig(c.Listen, c.HTTP, c.Gossip, c.Join, log)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Gearman == "none" {
		c.Gearman = ""
	}
	gearman, err := c.gearmanFlags.options()
	if err != nil {
		return err
	}
	if c.GearmanHTTP == "none" {
		c.GearmanHTTP = ""
	}
	if c.TaskMemory == 0 {
		c.TaskMemory = bytesize.Size(machine.Memory() / 8)
	}
	blockAfter := 0 // the default
	if c.BlockFor == 0 {
		blockAfter = -1
	}
	common.Diagnose.Settings = logSettings(k, log)
	return node.RunCoordinator(c.untilEOF(ctx), node.CoordinatorConfig{
		Common: common, Dir: c.Data, Audit: c.audit(), KeepCode: max(c.KeepCode, 1), KeepFailed: c.KeepFailed, ClientLease: cmp.Or(c.ClientLease, -1), MaxCode: int64(c.MaxCode),
		ReadOnly: c.HTTPReadOnly, Peers: c.Peers, ElectionTimeout: c.ElectionTimeout,
		Statsd: c.Statsd, StatsdEvery: c.StatsdEvery, StatsdPrefix: c.StatsdPrefix,
		BackupTo: c.BackupTo, BackupEvery: c.BackupEvery, BackupKeep: c.BackupKeep,
		Outboxes: c.Outbox, Gearman: c.Gearman, GearmanHTTP: c.GearmanHTTP, GearmanOptions: gearman,
		Tasks: taskserver.Config{Memory: int64(c.TaskMemory), KeepDead: cmp.Or(c.KeepDead, -1), MaxDead: c.MaxDead},
		Data:  datadir.Options{NoSync: c.NoSync, Reserve: cmp.Or(int64(c.Reserve), -1), AcceptLoss: c.AcceptLoss, Adopt: c.Adopt, Fork: c.Fork},
		Policy: coordinator.Policy{LeaseTTL: c.Lease, BlockAfter: blockAfter, LocalityWait: cmp.Or(c.LocalityWait, -1), MaxAttempts: c.MaxAttempts,
			StragglerRatio: cmp.Or(c.StragglerRatio, -1), BlockFor: c.BlockFor, Retain: c.Retain},
	})
}

// Run runs a worker. The first signal drains it, the second ends it.
func (w *workerCmd) Run(ctx context.Context, k *kong.Context) error {
	log := w.logger()
	common, err := w.nodeConfig(w.Listen, w.HTTP, w.Gossip, w.Join, log)
	if err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	common.Diagnose.Settings = logSettings(k, log)
	if err := keeper.Start(); err != nil {
		return err
	}
	drain, ended := make(chan struct{}), make(chan struct{})
	defer close(ended)
	work, stop := context.WithCancel(w.untilEOF(context.WithoutCancel(ctx)))
	defer stop()
	signals := make(chan os.Signal, 2)
	if signal.Notify(signals, syscall.SIGTERM); !w.UntilEOF {
		signal.Notify(signals, os.Interrupt)
		if !signal.Ignored(syscall.SIGHUP) {
			signal.Notify(signals, syscall.SIGHUP)
		}
	}
	defer signal.Stop(signals)
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n == 0 {
					log.Info("draining; a second signal ends the worker at once", "signal", s.String(), "limit", w.Drain)
					close(drain)
					continue
				}
				if s != syscall.SIGHUP { // a shell repeats it when its terminal closes
					stop()
				}
			case <-ended:
				return
			}
		}
	}()
	var functions func(*tasks.Worker)
	if len(w.Function) > 0 {
		functions = func(t *tasks.Worker) {
			ending := make(chan struct{})
			go func() {
				select {
				case <-drain:
					select {
					case <-time.After(w.Drain):
					case <-work.Done():
					}
				case <-work.Done(): // at the second signal
				}
				close(ending)
			}()
			for name, command := range w.Function {
				p := program{function: name, command: []string{"sh", "-c", command}, fatal: defaultFatal, ending: ending, env: child.Environment(w.ChildEnv)}
				tasks.Handle(t, name, func(ctx context.Context, in []byte) ([]byte, error) {
					ctx, cancel := context.WithCancel(ctx)
					defer context.AfterFunc(work, cancel)() // at the second signal
					defer cancel()
					return p.run(ctx, in)
				})
			}
		}
	}
	return node.RunWorker(work, node.WorkerConfig{Common: common, Drain: drain, Functions: functions, Node: worker.NodeConfig{
		Dir: w.Data, Slots: w.Slots, Reserved: w.Reserved, Memory: int64(w.Memory), Zone: w.Zone, Tags: w.Tags, Datasets: w.Dataset, FileRoots: trimmed(w.FileRoot),
		Codes: w.Code, Builtin: ownProgram(), ChildEnv: w.ChildEnv, AllowShippedCode: w.AllowShippedCode, Sync: !w.NoSync, Reserve: cmp.Or(int64(w.Reserve), -1), Quota: int64(w.Quota),
		Drain: max(w.Drain, time.Millisecond), Grace: max(w.Grace, time.Millisecond), Audit: w.audit(),
	}})
}

// ownProgram returns a path of this program that stays valid when its file is replaced, if the
// system has one. It is empty if the path is not known.
func ownProgram() string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self
	}
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}
