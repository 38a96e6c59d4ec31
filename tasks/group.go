package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// Group collects tasks whose results become one input: when all of them have ended, the task named
// by [Then] runs with their results. Open a group with [OpenGroup], add tasks with [AddToGroup],
// and close it. A group that is not closed is cancelled about 7 days after the last task was added,
// once its tasks have ended.
type Group struct {
	c     *Client
	id    ID
	lossy bool

	// mu is held while tasks are added, and guards the field below.
	mu    sync.Mutex
	added int64
}

// OpenGroup opens a group. It takes the options [Then], repeatable, [Partial] and [Lossy]. Without
// Then the group just ends. It returns the errors of [Enqueue].
func OpenGroup(ctx context.Context, c *Client, options ...Option) (*Group, error) {
	s, err := specOf(defaultKeep, options)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	id, err := c.openGroup(ctx, &s)
	return &Group{c: c, id: id, lossy: s.lossy}, err
}

// ID returns the group's ID. [Attach] with it waits for the end of the group and its followers, and
// returns the result of the last, as long as it is kept. [Client.Cancel] with it ends the group and
// its tasks. The outcome of a group without followers is known for the last 10,000 such groups.
func (g *Group) ID() ID { return g.id }

// Close closes the group: no more tasks can be added. Closing a closed group is no error. Errors
// are the errors of [Enqueue].
func (g *Group) Close(ctx context.Context) error { return g.c.closeGroup(ctx, g.id) }

// AddToGroup is [EnqueueAll] for tasks of a group. The results are gathered in the order of the
// inputs and calls. The tasks are as durable as the group.
//
// A refused task and all tasks after it get no ID and can be added again. An accepted task is added
// only once, even if the answer was lost. Concurrent calls for the same group run one after
// another.
func AddToGroup[In any](ctx context.Context, g *Group, function string, inputs []In, options ...Option) ([]ID, error) {
	s, err := backgroundSpec(function, options)
	if err == nil && (s.unique != "" || s.once != "") {
		err = fmt.Errorf("%w: Unique and Once are not for tasks of a group", ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	s.group, s.lossy = g.id, s.lossy || g.lossy
	g.mu.Lock()
	defer g.mu.Unlock()
	s.place = g.added
	ids, err := enqueueAll(ctx, g.c, function, inputs, &s)
	for _, id := range ids {
		if id != 0 {
			g.added++
		}
	}
	return ids, err
}

// ErrMissing is the error of a missing result in a [Partial] group.
var ErrMissing = errors.New("failed or was cancelled")

// Gathered is the input of a task that follows a group. It has one result for each task of the
// group, in the order in which they were added. ID is not set. A task without a result has the
// error [ErrMissing].
//
// The handler's input may have another type. A []T has zero values for missing results. A []byte,
// string or json.RawMessage is a JSON array, as for workers in other languages. Its objects have
// id, outcome (done, failed, cancelled), and either result with its encoding (json, text, base64)
// or error.
type Gathered[T any] []Result[T]

// gathered is implemented by every Gathered type. It receives the results of a group.
type gathered interface {
	fill(results [][]byte, done []bool) error
}

func (g *Gathered[T]) fill(results [][]byte, done []bool) error {
	*g = make(Gathered[T], len(results))
	for i, b := range results {
		r := &(*g)[i]
		r.Index = i
		if !done[i] {
			r.Err = ErrMissing
			continue
		}
		var err error
		if r.Value, err = decode[T](b); err != nil {
			return fmt.Errorf("result %d of the group: %w", i, err)
		}
	}
	return nil
}

// decodeGathered returns the results of a group as the input of a handler.
func decodeGathered[In any](results [][]byte, done []bool) (in In, err error) {
	switch p := any(&in).(type) {
	case gathered:
		err = p.fill(results, done)
	case *[][]byte:
		*p = results
	case *[]string:
		for _, b := range results {
			*p = append(*p, string(b))
		}
	default:
		array := make([]json.RawMessage, len(results)) // nil becomes null
		for i, b := range results {
			if len(b) > 0 {
				array[i] = b
			}
		}
		var b []byte
		if b, err = json.Marshal(array); err == nil {
			in, err = decode[In](b)
		}
		if err != nil {
			err = fmt.Errorf("results of the group do not fit a %T: %w", in, err)
		}
	}
	return in, err
}
