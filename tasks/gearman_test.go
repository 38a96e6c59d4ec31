package tasks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// Packet numbers of the Gearman protocol.
const (
	gCanDo, gPreSleep, gNoop, gSubmit, gCreated, gGrab, gNoJob, gAssign, gStatus, gComplete, gFail, gException, gData, gWarning = 1, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 25, 28, 29
)

// gearman is a connection with Gearman's binary protocol.
type gearman struct {
	t    testing.TB
	conn net.Conn
}

func newGearman(t testing.TB, address string) gearman {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return gearman{t, conn}
}

func (g gearman) send(kind uint32, args ...string) {
	body := strings.Join(args, "\x00")
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("\x00REQ"), kind), uint32(len(body)))
	if _, err := g.conn.Write(append(head, body...)); err != nil && !errors.Is(err, net.ErrClosed) { // at the test's end
		g.t.Error(err)
	}
}

// receive returns a packet with its arguments; the last argument has the rest of the body.
func (g gearman) receive(args int) (kind uint32, out []string) {
	head := make([]byte, 12)
	if _, err := io.ReadFull(g.conn, head); err != nil {
		return 0, make([]string, args)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[8:]))
	if _, err := io.ReadFull(g.conn, body); err != nil {
		return 0, make([]string, args)
	}
	for _, a := range bytes.SplitN(body, []byte{0}, args) {
		out = append(out, string(a))
	}
	return binary.BigEndian.Uint32(head[4:]), append(out, make([]string, args)...)
}

// A Gearman worker serves Go clients, and all its updates reach them.
func TestGearmanWorker(t *testing.T) {
	s, c := serve(t)
	g := newGearman(t, s.Gearman)
	g.send(gCanDo, "multiply")
	go func() {
		for {
			g.send(gGrab)
			kind, job := g.receive(3)
			switch kind {
			case gNoJob:
				g.send(gPreSleep)
				if kind, _ := g.receive(1); kind != gNoop {
					return
				}
			case gAssign:
				var x, y int
				if _, err := fmt.Sscanf(job[2], "[%d,%d]", &x, &y); err != nil {
					g.send(gException, job[0], "this is not for me: "+job[2])
					continue
				}
				g.send(gWarning, job[0], "as you like")
				g.send(gStatus, job[0], "1", "2")
				g.send(gData, job[0], "partial")
				g.send(gComplete, job[0], fmt.Sprint(x*y))
			default:
				return
			}
		}
	}()
	var told []string
	n, err := tasks.Do[int](within(t), c, "multiply", [2]int{6, 7}, tasks.OnUpdate(func(u tasks.Update) {
		told = append(told, fmt.Sprintf("%s %d/%d %s", u.Kind, u.N, u.M, u.Payload))
	}))
	if want := []string{"warning 0/0 as you like", "progress 1/2 ", "data 0/0 partial", "done 0/0 42"}; n != 42 || err != nil || !slices.Equal(told, want) {
		t.Errorf("%d, %v after %q, want 42 after %q", n, err, told, want)
	}
	_, err = tasks.Do[int](within(t), c, "multiply", "nonsense", tasks.Attempts(1))
	if !errors.Is(err, tasks.ErrFailed) || !strings.Contains(err.Error(), "this is not for me: nonsense") {
		t.Errorf("an exception arrived as %v", err)
	}
	workers, err := c.Workers(within(t))
	if err != nil || len(workers) != 1 || !workers[0].Gearman {
		t.Errorf("Workers = %+v, %v", workers, err)
	}
}

// A Go worker serves Gearman clients.
func TestGearmanClient(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "multiply", func(ctx context.Context, in [2]int) (int, error) {
			return in[0] * in[1], errors.Join(tasks.Send(ctx, "partial"), tasks.Progress(ctx, 1, 2), tasks.Warn(ctx, "careful"))
		})
	})
	await(t, c, "the worker", func(o tasks.Overview) bool { return len(o.Functions) == 1 && o.Functions[0].Workers == 1 })
	text, err := net.Dial("tcp", s.Gearman)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if _, err := text.Write([]byte("workers\n")); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(text)
	for found := false; lines.Scan(); {
		if found = found || strings.HasPrefix(lines.Text(), "0 - ") && strings.HasSuffix(lines.Text(), " : multiply"); lines.Text() == "." {
			if !found {
				t.Error("the listing of workers has no Go worker")
			}
			break
		}
	}
	g := newGearman(t, s.Gearman)
	g.send(gSubmit, "multiply", "", "[6,7]")
	kind, created := g.receive(1)
	if kind != gCreated {
		t.Fatalf("packet %d %q, want JOB_CREATED", kind, created)
	}
	for _, want := range []struct {
		kind uint32
		args []string
	}{{gData, []string{"partial"}}, {gStatus, []string{"1", "2"}}, {gWarning, []string{"careful"}}, {gComplete, []string{"42"}}} {
		kind, got := g.receive(1 + len(want.args))
		if kind != want.kind || got[0] != created[0] || !slices.Equal(got[1:1+len(want.args)], want.args) {
			t.Errorf("packet %d %q, want %d %q of %s", kind, got, want.kind, want.args, created[0])
		}
	}
	g.send(gSubmit, "multiply", "", "many")
	if kind, _ := g.receive(1); kind != gCreated {
		t.Fatalf("packet %d, want JOB_CREATED", kind)
	}
	if kind, _ := g.receive(1); kind != gFail {
		t.Errorf("packet %d, want WORK_FAIL", kind)
	}
}

// The follower of a group may be in any language: a Gearman worker, and a handler with bytes as
// input, get JSON.
func TestGroupInOtherLanguages(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "part", func(_ context.Context, n int) (any, error) {
			switch n {
			case 1:
				return map[string]int{"n": 1}, nil
			case 2:
				return []byte{0xfe}, nil
			}
			return nil, tasks.Fatal(errors.New("part 3 is bad"))
		})
		tasks.Handle(w, "text", func(_ context.Context, in string) (string, error) { return in, nil })
	})
	g := newGearman(t, s.Gearman)
	g.send(gCanDo, "gather")
	for _, then := range []string{"text", "gather"} {
		group, err := tasks.OpenGroup(within(t), c, tasks.Then(then), tasks.Partial())
		if err != nil {
			t.Fatal(err)
		}
		ids, err := tasks.AddToGroup(within(t), group, "part", []int{1, 2, 3})
		if err == nil {
			err = group.Close(within(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		if then == "gather" { // the worker returns its input
			g.send(gPreSleep)
			if kind, _ := g.receive(1); kind != gNoop {
				t.Fatalf("packet %d instead of NOOP", kind)
			}
			g.send(gGrab)
			kind, job := g.receive(3)
			if kind != gAssign {
				t.Fatalf("packet %d instead of JOB_ASSIGN", kind)
			}
			g.send(gComplete, job[0], job[2])
		}
		got, err := tasks.Attach[string](within(t), c, group.ID())
		want := fmt.Sprintf(`[{"id":"%s","outcome":"done","encoding":"json","result":{"n":1}},{"id":"%s","outcome":"done","encoding":"base64","result":"/g=="},`+
			`{"id":"%s","outcome":"failed","error":"part 3 is bad"}]`, ids[0], ids[1], ids[2])
		if err != nil || got != want {
			t.Errorf("%s got %s, %v, want %s", then, got, err, want)
		}
	}
}

// Names and keys of Gearman clients may be any bytes; all calls list, show, run and drop them.
func TestNamesAreBytes(t *testing.T) {
	const function, key, id = "caf\xe9\x1b[31m", "k\xff\n", "w\xfe"
	s, c := serve(t)
	g := newGearman(t, s.Gearman)
	const gSetID, gSubmitBG = 22, 18
	g.send(gSetID, id)
	g.send(gSubmitBG, function, key, "in")
	if kind, _ := g.receive(1); kind != gCreated {
		t.Fatalf("answer %d", kind)
	}
	g.send(gCanDo, function)
	g.send(16, "") // all before it has been handled
	g.receive(1)
	ctx := t.Context()
	o, err := c.Overview(ctx)
	if err != nil || len(o.Functions) != 1 || o.Functions[0].Name != function {
		t.Fatalf("Overview: %+v, %v", o, err)
	}
	for st, err := range c.Tasks(ctx, function) {
		if err != nil || st.Function != function {
			t.Fatalf("Tasks: %+v, %v", st, err)
		}
	}
	if st, err := c.StatusUnique(ctx, function, key); err != nil || st.Function != function || st.Unique != key {
		t.Fatalf("StatusUnique: %+v, %v", st, err)
	}
	ws, err := c.Workers(ctx)
	if err != nil || len(ws) != 1 || ws[0].Name != id || ws[0].Functions[0] != function {
		t.Fatalf("Workers: %+v, %v", ws, err)
	}
	g.send(gGrab)
	_, job := g.receive(3)
	g.send(gComplete, job[0], "out")
	if _, err := tasks.Enqueue(ctx, c, function, []byte("in"), tasks.Attempts(1)); err != nil {
		t.Fatal(err)
	}
	g.send(gGrab)
	_, job = g.receive(3)
	g.send(gException, job[0], id)
	g.send(3) // RESET_ABILITIES
	g.send(16, "")
	g.receive(1)
	if dead, err := c.Dead(ctx, function, 1); err != nil || len(dead) != 1 || dead[0].Error != id {
		t.Fatalf("Dead: %+v, %v", dead, err)
	}
	if err := c.DropFunction(ctx, function); err != nil {
		t.Fatal(err)
	}
}
