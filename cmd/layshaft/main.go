// Command layshaft runs the processes of a cluster and shows their state. It reads flags,
// environment and config file; internal/node assembles coordinators and workers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/node"
	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/mapreduce"
	_ "github.com/layshaft/layshaft/mapreduce/inspect" // profiles of reports on a cluster
	"github.com/layshaft/layshaft/tasks"
)

// Exit codes, as in the help text.
const (
	exitFailed       = 1
	exitUsage        = 2
	exitJobFailed    = 3
	exitJobCancelled = 4
	exitUnknown      = 5
	exitUnreachable  = 6
	exitInterrupted  = 130
)

const description = `Layshaft runs MapReduce pipelines written in Go on a cluster of coordinator and workers.

Try it: "layshaft dev" starts a whole cluster on this machine; then run any pipeline with "-cluster 127.0.0.1:7070".

Every flag can be given on the command line, with one dash or two, as environment variable LAYSHAFT_FLAG (with _ for -), or
in the file of -config as a line "flag = value"; the first of these that is set counts.

Exit codes: 0 done, 1 failed, 2 wrong command line or config, 3 the job or task failed, 4 it was cancelled, 5 no such job, task or
worker, 6 the coordinator cannot be reached, 130 interrupted.`

func main() {
	vetMain()
	begin()
	os.Exit(run(os.Args[1:]))
}

// begin runs what comes before all commands. In a child process it does not return.
func begin() (collected <-chan struct{}) {
	keeper.Main()
	mapreduce.Main()
	return collectLater() // last, because it restores the memory limit that Main sets
}

// heapGrowth is how much the heap grows between collections, in percent, after the first one.
var heapGrowth atomic.Int64

// collectLater lets the heap grow to 32 MiB before the first collection; Go begins at 4 MiB. A
// short command then ends without one. Later collections follow heapGrowth. The limit of memory
// counts until then, because the first collection sets the size at which the next one begins. The
// result is closed when the former limit counts again.
func collectLater() <-chan struct{} {
	collected := make(chan struct{})
	if os.Getenv("GOGC") != "" {
		close(collected)
		return collected
	}
	heapGrowth.Store(int64(debug.SetGCPercent(800)))
	limit := debug.SetMemoryLimit(64 << 20)
	runtime.AddCleanup(new([2]*int), func(limit int64) {
		debug.SetGCPercent(int(heapGrowth.Load()))
		debug.SetMemoryLimit(limit)
		close(collected)
	}, limit)
	return collected
}

// run is main without os.Exit.
func run(args []string) int {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "LAYSHAFT_") && value == "" {
			_ = os.Unsetenv(name) // kong would treat an empty variable as a value
		}
	}
	if command, err := parseReport(args); err == nil {
		return runCommand(command)
	}
	parser := newParser(new(cli))
	if len(args) > 0 {
		switch args[0] {
		case "-version", "--version":
			args = append([]string{"version"}, args[1:]...)
		case "help":
			args = append(args[1:], "-h")
		}
	}
	command, err := parser.Parse(acceptOneDash(args))
	if err != nil {
		return reportParse(parser, args, err)
	}
	return runCommand(command)
}

// newParser returns the parser of a grammar.
func newParser(grammar any) *kong.Kong {
	parser, err := kong.New(grammar,
		kong.Name("layshaft"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}), kong.ValueFormatter(describe),
		kong.DefaultEnvars("LAYSHAFT"), kong.NamedMapper("name", kong.MapperFunc(decodeName)), kong.KindMapper(reflect.String, kong.MapperFunc(decodeText)), kong.PostBuild(ownVariables), kong.Configuration(readConfig), kong.Help(help), kong.ShortHelp(help),
	)
	if err != nil {
		panic(err) // the grammar is wrong
	}
	return parser
}

// reportCLI is the part of cli that a report needs. It takes a tenth of the time to build, which is
// a quarter of the time of a report of a small file.
type reportCLI struct {
	Report reportCmd `cmd:""`
}

// parseReport parses the command line of a report. After an error, and for help or a config file,
// the whole grammar must parse it.
func parseReport(args []string) (*kong.Context, error) {
	isReport := len(args) > 0 && args[0] == "report" && os.Getenv("LAYSHAFT_CONFIG") == ""
	for _, a := range args {
		name := strings.TrimLeft(a, "-")
		isReport = isReport && (name == a || !strings.HasPrefix(name, "h") && !strings.HasPrefix(name, "config"))
	}
	if !isReport {
		return nil, errors.ErrUnsupported
	}
	return newParser(new(reportCLI)).Parse(acceptOneDash(args))
}

// runCommand runs a command, and returns the exit code.
func runCommand(command *kong.Context) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, func() { // a second signal ends the process at once
		stop()
		signal.Ignore(syscall.SIGHUP) // but a shell repeats it when its terminal closes
	})
	command.BindTo(ctx, (*context.Context)(nil))
	err := command.Run()
	code := exitCode(err)
	if u := (usageError{}); errors.As(err, &u) && errors.As(u.error, &missingArgument{}) {
		_, text := usage(command.Selected())
		fmt.Fprintln(os.Stderr, text)
	}
	return code
}

// decodeName reads the name of a function, as any bytes or as escaped on screens.
func decodeName(ctx *kong.DecodeContext, target reflect.Value) error {
	name, err := popText(ctx, "name")
	target.SetString(plain.Bytes(name))
	return err
}

// decodeText reads a text with all its bytes: paths, inputs and statements may be in any encoding.
// The decoder of kong passes texts through JSON, which replaces bytes outside UTF-8.
func decodeText(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := popText(ctx, "string")
	target.SetString(text)
	return err
}

// popText returns the next argument. what names it in errors.
func popText(ctx *kong.DecodeContext, what string) (string, error) {
	token, err := ctx.Scan.PopValue(what)
	if err != nil {
		return "", err
	}
	if text, ok := token.Value.(string); ok {
		return text, nil
	}
	return fmt.Sprint(token.Value), nil
}

// ownVariables gives some flags environment variables of their own, because programs or other
// commands have flags of the same name with another meaning.
func ownVariables(k *kong.Kong) error {
	return kong.Visit(k.Model, func(n kong.Visitable, next kong.Next) error {
		if node, ok := n.(*kong.Node); ok {
			for _, f := range node.Flags {
				of := ""
				switch path := strings.TrimPrefix(node.FullPath(), "layshaft "); {
				case path == "report" && slices.Contains([]string{"priority", "progress", "schema", "state"}, f.Name):
					of = "LAYSHAFT_REPORT_"
				case f.Name == "priority", f.Name == "state", path == "task limit" && f.Name == "concurrency":
					of = "LAYSHAFT_TASK_"
				case f.Name == "function" && (path == "worker run" || path == "dev"):
					of = "LAYSHAFT_WORKER_"
				case path == "history" && f.Name == "trace":
					of = "LAYSHAFT_HISTORY_"
				case path == "new" && f.Name == "replace":
					of = "LAYSHAFT_NEW_"
				default:
					continue
				}
				f.Envs = []string{of + strings.ToUpper(f.Name)}
				f.Tag.Envs = f.Envs
			}
		}
		return next(nil)
	})
}

// exitCode reports err and returns the exit code of the process.
func exitCode(err error) int {
	var ended *report.JobError
	var usage usageError
	var refused node.Refused
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	text := err.Error()
	if bare := (*fs.PathError)(nil); errors.As(err, &bare) && text == bare.Error() { // nothing else in the text says what the path is for
		text = fmt.Sprintf("%s: %s: %v; check the path, and that this user may use it", bare.Path, bare.Op, bare.Err)
	}
	var clearer clearerError
	switch {
	case errors.As(err, &clearer): // it has its own way out
	case errors.Is(err, tasks.ErrUnknown):
		text += "; layshaft task list shows the tasks that wait or run, layshaft task dead those that failed"
	case errors.Is(err, tasks.ErrUnknownSchedule):
		text += "; see layshaft schedule list"
	}
	fmt.Fprintln(os.Stderr, "layshaft:", plain.Lines(text))
	switch {
	case errors.As(err, &usage), errors.As(err, &refused):
		return exitUsage
	case errors.As(err, &ended) && ended.Outcome == report.JobCancelled, errors.Is(err, tasks.ErrCancelled):
		return exitJobCancelled
	case errors.As(err, &ended), errors.Is(err, tasks.ErrFailed):
		return exitJobFailed
	case errors.Is(err, wire.ErrUnknownJob), errors.Is(err, wire.ErrUnknownWorker), errors.Is(err, tasks.ErrUnknown):
		return exitUnknown
	case errors.Is(err, wire.ErrUnavailable), errors.Is(err, wire.ErrDistrust), errors.Is(err, wire.ErrWrongPort):
		return exitUnreachable
	}
	return exitFailed
}

// usageError is a wrong command line that only the command itself can detect.
type usageError struct{ error }

// version returns the version of this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(len(s.Value), 12)]
		}
	}
	return "devel"
}

// help prints flags with one dash, as in the documentation.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	var out strings.Builder
	to := ctx.Stdout
	ctx.Stdout = &out
	err := kong.DefaultHelpPrinter(options, ctx)
	ctx.Stdout = to
	if node := ctx.Selected(); err == nil && node != nil && node.DefaultCmd != nil { // the user needs its flags
		var of *kong.Context
		if of, err = kong.Trace(ctx.Kong, []string{node.Name, node.DefaultCmd.Name}); err == nil {
			fmt.Fprintln(&out)
			of.Stdout = &out
			err = kong.DefaultHelpPrinter(options, of)
			of.Stdout = to // kong takes it from the parser
		}
	}
	if err == nil {
		_, err = fmt.Fprint(to, oneDash(out.String()))
	}
	return err
}

// describe adds the environment variable and the default to the help of a flag.
func describe(v *kong.Value) string {
	if v.Flag == nil || len(v.Flag.Envs) == 0 {
		return v.Help
	}
	text := v.Help + " (" + v.Flag.Envs[0]
	if v.HasDefault && v.Default != "" {
		text += "; default " + v.Default
	}
	return text + ")"
}
