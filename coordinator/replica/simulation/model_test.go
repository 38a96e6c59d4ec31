package simulation

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// The model of the queue: tasks of one unique key. At most one of them lives; an ended task keeps
// its end. An enqueue joins the task that lives, or makes one. So does a foreground call, but a task
// without any enqueue may vanish: with its last caller, or with the leader. A foreground call does
// not wait for the disk. So it may begin a task beside one whose end a worker has reported, and that
// lives again after a change of the leader.

type operation byte

const (
	opEnqueue operation = iota
	opStatus
	opCancel
	opEnd   // a worker reports a result
	opCall  // a foreground call begins or joins a task
	opEnded // a caller gets the end of a task
)

type input struct {
	op     operation
	unique string
	id     uint64
	text   string // input of the task, or result of opEnd
}

func (in input) String() string {
	switch in.op {
	case opEnqueue:
		return fmt.Sprintf("enqueue %s", in.text)
	case opStatus:
		return fmt.Sprintf("status of %x (%s)", in.id, in.unique)
	case opCancel:
		return fmt.Sprintf("cancel %x (%s)", in.id, in.unique)
	case opCall:
		return fmt.Sprintf("call %s", in.text)
	case opEnded:
		return fmt.Sprintf("wait for %x (%s)", in.id, in.unique)
	}
	return fmt.Sprintf("end of %x (%s) with %s", in.id, in.unique, in.text)
}

type phase byte

const (
	stateUnknown phase = iota
	stateLive
	stateDone
	stateCancelled
	stateFailed
)

func (s phase) String() string {
	return [...]string{"unknown", "live", "done", "cancelled", "failed"}[s]
}

type output struct {
	lost     bool // no answer
	repeated bool // an earlier try may have had the effect
	id       uint64
	joined   bool
	done     bool
	state    phase
	text     string
}

func (o output) String() string {
	switch {
	case o.lost:
		return "no answer"
	case o.id != 0 && o.state == stateUnknown:
		return fmt.Sprintf("%x, joined %v, repeated %v", o.id, o.joined, o.repeated)
	case o.state != stateUnknown:
		return fmt.Sprintf("%v %s", o.state, o.text)
	}
	return fmt.Sprintf("done %v, repeated %v", o.done, o.repeated)
}

// maxEnded is the number of ended tasks of a key that the model keeps.
const maxEnded = 48

// key is the state of the model.
type key struct {
	live  uint64 // zero means none
	loose bool   // the live task has no enqueue: it may have vanished
	// reported means that a worker has reported the end of the live task, and beside is the task of
	// a foreground call that began after that, or zero.
	reported bool
	beside   uint64
	count    int
	ended    [maxEnded]ended // in order of their ends
}

type ended struct {
	id    uint64
	state phase
	text  string
}

// unnamed is the ID of a live task whose submitter got no answer.
const unnamed = 1

// is reports whether the live task may have an ID.
func (k key) is(id uint64) bool { return k.live == id || k.live == unnamed && k.find(id) == nil }

func (k *key) find(id uint64) *ended {
	for i := range k.ended[:k.count] {
		if k.ended[i].id == id {
			return &k.ended[i]
		}
	}
	return nil
}

func (k key) end(id uint64, s phase, text string) key {
	k.ended[k.count] = ended{id, s, text}
	k.count++
	if id == k.beside {
		k.beside = 0
		return k
	}
	return k.begin(0, false)
}

// begin returns the state with another live task.
func (k key) begin(id uint64, loose bool) key {
	k.live, k.loose, k.reported = id, loose, false
	return k
}

// step returns the states that may follow.
func (k key) step(in input, out output) (next []any) {
	free := k.live == 0 || k.loose
	switch in.op {
	case opEnqueue:
		join, fresh := k, k.begin(out.id, false)
		join.loose = false
		if out.lost {
			if free {
				next = append(next, k.begin(unnamed, false))
			}
			return append(next, k, join)
		}
		join.live = out.id
		if k.live != 0 && k.is(out.id) && (out.joined || out.repeated) {
			next = append(next, join)
		}
		if free && k.find(out.id) == nil && (!out.joined || out.repeated) {
			next = append(next, fresh)
		}
	case opCall:
		id := out.id
		switch {
		case out.lost:
			id = unnamed
			next = append(next, k)
		case k.beside == id:
			return []any{k}
		case k.live != 0 && k.is(id):
			join := k
			join.live = id
			next = append(next, join)
		}
		if k.find(id) != nil {
			break
		}
		if free {
			next = append(next, k.begin(id, true))
		}
		if k.reported && !out.lost {
			k.beside = id
			next = append(next, k)
		}
	case opEnded:
		if e := k.find(out.id); out.lost || e != nil && e.state == out.state && e.text == out.text {
			next = append(next, k)
		}
	case opStatus:
		if out.lost {
			return []any{k}
		}
		e := k.find(in.id)
		switch {
		case out.state == stateLive && k.live != 0 && k.is(in.id):
			k.live = in.id
			next = append(next, k)
		case e != nil && e.state == out.state && e.text == out.text:
			next = append(next, k)
		}
	case opCancel:
		live := k.live != 0 && k.is(in.id)
		if live && (out.lost || out.done || out.repeated) {
			next = append(next, k.end(in.id, stateCancelled, ""))
		}
		if out.lost || !out.done && (k.live != in.id || out.repeated) {
			next = append(next, k)
		}
	case opEnd:
		if next = append(next, k); k.beside == in.id {
			next = append(next, k.end(in.id, stateDone, in.text))
		} else if k.live != 0 && k.is(in.id) {
			next = append(next, k.end(in.id, stateDone, in.text))
			if k.live = in.id; !k.reported {
				k.reported = true
				next = append(next, k)
			}
		}
	}
	return next
}

var model = (&porcupine.NondeterministicModel{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := map[string]int{}
		for _, o := range all {
			u := o.Input.(input).unique
			if _, ok := by[u]; !ok {
				by[u] = len(parts)
				parts = append(parts, nil)
			}
			parts[by[u]] = append(parts[by[u]], o)
		}
		return parts
	},
	Init:              func() []any { return []any{key{}} },
	Step:              func(s, in, out any) []any { return s.(key).step(in.(input), out.(output)) },
	Equal:             func(a, b any) bool { return a.(key) == b.(key) },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v: %v", in, out) },
	DescribeState: func(s any) string {
		var all []string
		for _, s := range s.([]any) {
			k := s.(key)
			all = append(all, fmt.Sprintf("live %x, ended %v", k.live, k.ended[:k.count]))
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	},
}).ToModel()
