package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/porttest"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("UTC+9", 9*60*60) // JSON has times in UTC, whatever the zone
	vetMain()
	keeper.Main()
	if fifo := os.Getenv(ownerOf); fifo != "" {
		ownCommand(fifo)
	}
	testscript.Main(m, map[string]func(){"layshaft": main})
}

// ownerOf, as an environment variable, makes this program one that runs a command, which holds the
// FIFO of that name.
const ownerOf = "COMMAND_TEST_FIFO"

func ownCommand(fifo string) {
	if err := keeper.Start(); err != nil {
		panic(err)
	}
	p := program{command: []string{"sh", "-c", `sh -c 'setsid sleep 1000 & exec sleep 1000' >"$0"`, fifo}}
	_, err := p.run(context.Background(), nil)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// The scripts run this program as users do. GRPC, HTTP, GOSSIP and GEARMAN are free addresses.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts dozens of processes, which takes long with the race detector")
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			for _, v := range os.Environ() {
				if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "LAYSHAFT_") {
					env.Setenv(name, "")
				}
			}
			for _, name := range []string{"GRPC", "HTTP", "GOSSIP", "GEARMAN"} {
				port, err := porttest.Choose()
				if err != nil {
					return err
				}
				env.Setenv(name, fmt.Sprintf("127.0.0.1:%d", port))
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"await": await},
	})
}

// await TEXT PROGRAM ARGS... runs a program until its output has TEXT.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await TEXT PROGRAM ARGS...")
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if strings.Contains(out, args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %q in the output of %v: %v\n%s%s", args[0], args[1:], err, out, ts.ReadFile("stderr"))
		}
	}
}

// What only the processes themselves find out about their flags is a wrong command line, too.
func TestRefusalsExitWith2(t *testing.T) {
	data := t.TempDir()
	local := []string{"-listen", "127.0.0.1:0", "-http", "none", "-gossip", "127.0.0.1:0"}
	for _, args := range [][]string{
		{"coordinator", "-data", data, "-listen", "0.0.0.0:0"},
		append([]string{"coordinator", "-data", data, "-tls-ca", "ca.pem"}, local...),
		append([]string{"coordinator", "-data", data, "-join", "192.0.2.1:7946"}, local...),
		append([]string{"worker", "-data", data, "-join", "127.0.0.1:1", "-slots=-1"}, local...),
		{"cert", "issue", "-role", "client", "-name", "me", "-validity=-1h"},
		{"job", "list", "-cluster", "foo"},
		{"job", "cancel", ""},
	} {
		if code := run(args); code != exitUsage {
			t.Errorf("%v ends with %d, want %d", args, code, exitUsage)
		}
	}
}

// Each command that needs arguments has an example.
func TestExamples(t *testing.T) {
	parser, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		needs := len(leaf.Positional) > 0 && leaf.Positional[0].Required
		for _, f := range leaf.Flags {
			needs = needs || f.Required
		}
		path := strings.TrimSuffix(strings.Join(strings.Fields(leaf.Path()), " "), " run")
		if needs && examples[path] == "" {
			t.Errorf("%q has no example", path)
		}
	}
}
