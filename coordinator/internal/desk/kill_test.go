package desk

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// TestKilledDeskKeepsWhatItAcknowledged repeatedly kills a process with SIGKILL while it submits,
// fails, cancels, completes and chains tasks. Afterwards every task with an acknowledged submit
// exists, and no task with an acknowledged end runs again.
func TestKilledDeskKeepsWhatItAcknowledged(t *testing.T) {
	if dir := os.Getenv("LAYSHAFT_TEST_DESK"); dir != "" {
		submitUntilKilled(dir)
	}
	dir := t.TempDir()
	inputs, ends := map[queue.ID]string{}, map[queue.ID]string{}
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledDeskKeepsWhatItAcknowledged$")
		cmd.Env = append(os.Environ(), "LAYSHAFT_TEST_DESK="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 10+37*round && lines.Scan(); n++ {
			var what, input string
			var id queue.ID
			if _, err := fmt.Sscan(lines.Text(), &what, &id, &input); err != nil {
				t.Fatal(lines.Text())
			}
			if what == "submitted" {
				inputs[id] = input
			} else {
				ends[id] = what
			}
		}
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		check(t, dir, inputs, ends)
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
	}
}

func check(t *testing.T, dir string, inputs, ends map[queue.ID]string) {
	d, shut := openAndShut(t, Config{Dir: dir})
	defer shut()
	for id, input := range inputs {
		d.Lock()
		info, ok := d.Status(id)
		d.Unlock()
		in, err := d.Input(id)
		switch {
		case !ok:
			t.Errorf("task %d was acknowledged and is lost", id)
		case err != nil || string(in.Data) != input:
			t.Errorf("task %d: input %q, %v; want %q", id, in.Data, err, input)
		case ends[id] == "done" && info.State != queue.WasDone:
			t.Errorf("task %d was done, and is %v", id, info.State)
		case ends[id] == "cancelled" && info.State != queue.WasCancelled:
			t.Errorf("task %d was cancelled, and is %v", id, info.State)
		case ends[id] == "failed" && !info.DeadLetter:
			t.Errorf("task %d failed, and is %v", id, info.State)
		}
		if result, err := d.Result(id); ends[id] == "done" && (err != nil || string(result) != "result of "+input) {
			t.Errorf("task %d: result %q, %v", id, result, err)
		}
	}
	d.Lock()
	defer d.Unlock()
	for _, bad := range d.Audit() {
		t.Error(bad)
	}
}

// submitUntilKilled acts as a client and a worker, and prints every acknowledgement.
func submitUntilKilled(dir string) {
	d, err := Open(Config{Dir: dir, Reserve: -1})
	if err != nil {
		panic(err)
	}
	go func() { panic(d.Run(context.Background())) }()
	ctx := context.Background()
	d.Lock()
	worker := d.Join("worker")
	worker.CanDo("f", 0)
	worker.SetSlots(4, 0, "")
	d.Unlock()
	go work(d, worker)
	for i := 0; ; i++ {
		input := fmt.Sprintf("%d-%d", os.Getpid(), i)
		x := Submission{Function: "f", Input: []byte(input), Durable: true, Policy: queue.Policy{Attempts: 2, Backoff: time.Millisecond, Keep: time.Hour}}
		if i%9 == 4 {
			x.Function = "nobody"
		}
		if i%5 == 1 {
			x.Then = []queue.Next{{Function: "f", Policy: x.Policy}}
		}
		d.Lock()
		n, err := d.Submit(nil, &x)
		d.Unlock()
		if err == nil {
			err = d.Durable(ctx, n.Batch)
		}
		if err != nil {
			panic(err)
		}
		fmt.Println("submitted", uint64(n.Task), input)
		if i%18 == 4 {
			d.Lock()
			d.Cancel(n.Task)
			batch := d.LastBatch()
			d.Unlock()
			if err := d.Durable(ctx, batch); err != nil {
				panic(err)
			}
			fmt.Println("cancelled", uint64(n.Task), input)
		}
	}
}

// work fails some tasks once, some finally, and completes the others.
func work(d *Desk, s *Session) {
	type attempt struct{ task, n uint64 }
	how := map[attempt]string{} // by attempt, because the Ack of the first may arrive when the second runs
	for {
		notes, err := s.Take(nil, 1<<20)
		if err != nil {
			panic(err)
		}
		for _, n := range notes {
			a := attempt{uint64(n.Task), n.N}
			if n.Signal == Ack {
				if how[a] != "" {
					fmt.Println(how[a], a.task, "-")
				}
				delete(how, a)
				continue
			}
			in, err := d.Input(n.Task)
			if err != nil {
				panic(err)
			}
			d.Lock()
			switch k := uint64(n.Task) >> 26 % 6; {
			case k == 0:
				how[a] = "failed"
				s.Report(n.Task, int64(n.N), queue.Fatal, 0, 0, []byte("bad"))
			case k == 1 && n.N == 1:
				s.Report(n.Task, int64(n.N), queue.Failed, 0, 0, []byte("try again"))
			default:
				how[a] = "done"
				s.Report(n.Task, int64(n.N), queue.Done, 0, 0, append([]byte("result of "), in.Data...))
			}
			d.Unlock()
		}
		if len(notes) == 0 {
			<-s.Ready()
		}
	}
}
