//go:build unix

package chaos

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/e2e/internal/python"
	"github.com/layshaft/layshaft/tasks"
)

// addPython adds a task worker in Python, if Python can be had.
func (s *site) addPython() {
	p, err := python.FindLayshaft("../../python")
	if err != nil {
		s.t.Logf("without Python: %v", err)
		return
	}
	s.python = &p
	script, err := filepath.Abs("testdata/ledger.py")
	if err != nil {
		s.t.Fatal(err)
	}
	s.ledgers = append(s.ledgers, s.launch(&member{name: "ledger-python", program: p.Program, args: []string{script, s.ledger()},
		env: append(p.Env(), s.pythonEnv("worker", s.grpc)...)}))
}

// pythonEnv returns the variables with the addresses and the certificate of a role.
func (s *site) pythonEnv(role, addresses string) []string {
	c := s.certificate(role)
	return []string{"LAYSHAFT_CLUSTER=" + addresses, "LAYSHAFT_TLS_CA=" + c[1], "LAYSHAFT_TLS_CERT=" + c[3], "LAYSHAFT_TLS_KEY=" + c[5]}
}

// pythonClients is a process that calls do, enqueue and scatter of the Python package.
type pythonClients struct {
	s     *site
	ids   map[tasks.ID]string // inputs of acknowledged tasks
	count map[string]int      // finished calls by their kind
}

func newPythonClients(s *site) *pythonClients {
	return &pythonClients{s, map[tasks.ID]string{}, map[string]int{}}
}

func (l *pythonClients) run(ctx context.Context) {
	if err := l.runProcess(ctx); err != nil {
		l.s.t.Errorf("clients in Python: %v", err)
	}
}

func (l *pythonClients) runProcess(ctx context.Context) error {
	log, err := os.Create(filepath.Join(l.s.dir, "load-python.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(l.s.python.Program, "testdata/load.py")
	cmd.Env = append(append(os.Environ(), l.s.python.Env()...), l.s.pythonEnv("client", l.s.clientAddress())...)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { in.Close() })
	defer stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if err := l.note(lines.Text()); err != nil {
			l.s.t.Errorf("clients in Python: %v", err)
		}
	}
	return cmd.Wait()
}

func (l *pythonClients) note(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	l.count[kind]++
	switch kind {
	case "enqueue":
		in, text, _ := strings.Cut(rest, " ")
		id, err := tasks.ParseID(text)
		l.ids[id] = in
		return err
	case "do", "scatter":
		return nil
	}
	return fmt.Errorf("%s", line)
}

func (l *pythonClients) check() string {
	return fmt.Sprintf("from Python: %s; %d calls of do, %d scatters of 30 tasks", l.s.checkQueued(l.ids), l.count["do"], l.count["scatter"])
}
