package layshafttest

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/layshaft/layshaft/proto/layshaft/journal/v1"
)

type event = *journalv1.Event

// history reads along what the coordinator writes into its journal, and fails the test when an
// attempt is committed twice. A task may be: when the worker that held its output is lost.
type history struct {
	t     *testing.T
	judge func(kinds []string) verdict // nil keeps all
	seen  func(e event)                // nil sees nothing

	// mu guards the fields below.
	mu        sync.Mutex
	kinds     map[string]int
	committed map[string]int64 // attempts by task; those whose output was lost are negative
	again     int              // commits of tasks whose output was lost
}

func (h *history) option() Option {
	return func(o *options) { o.appended = h.take }
}

func (h *history) take(events [][]byte) verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	var kinds []string
	var all []*journalv1.Event
	for _, b := range events {
		var e journalv1.Event
		if err := proto.Unmarshal(b, &e); err != nil {
			h.t.Errorf("journal: %v", err)
			return keep
		}
		kind := strings.TrimPrefix(reflect.TypeOf(e.Event).Elem().Name(), "Event_")
		kinds, all = append(kinds, kind), append(all, &e)
	}
	v := keep
	if h.judge != nil {
		v = h.judge(kinds)
	}
	if v == lose {
		return v
	}
	for i, e := range all {
		if h.kinds == nil {
			h.kinds, h.committed = map[string]int{}, map[string]int64{}
		}
		h.kinds[kinds[i]]++
		h.note(e)
		if h.seen != nil {
			h.seen(e)
		}
	}
	return v
}

func (h *history) count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kinds[kind]
}

func (h *history) note(e *journalv1.Event) {
	if d := e.GetJobDropped(); d != nil { // it may come again
		maps.DeleteFunc(h.committed, func(task string, _ int64) bool { return strings.HasPrefix(task, d.GetJob()+" ") })
	}
	a := e.GetCommitted().GetAttempt()
	if a == nil {
		a = e.GetOutputLost().GetAttempt()
	}
	if a == nil {
		return
	}
	task := fmt.Sprintf("%s %d/%d", a.GetJob(), a.GetTask().GetStage(), a.GetTask().GetIndex())
	last := h.committed[task]
	switch {
	case e.GetOutputLost() != nil:
		if last == a.GetN() {
			h.committed[task] = -last
		}
	case last == a.GetN():
		h.t.Errorf("task %s was committed twice by attempt %d", task, last)
	default:
		if last != 0 {
			h.again++
		}
		h.committed[task] = a.GetN()
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func swap(t *testing.T, a, b string) {
	t.Helper()
	for _, move := range [][2]string{{a, a + ".tmp"}, {b, a}, {a + ".tmp", b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
}
