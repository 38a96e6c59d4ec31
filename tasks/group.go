package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// Group is tasks whose results are gathered: when all have ended, the task that its [Then] names gets them as input. Make one with [OpenGroup], add to
// it with [AddToGroup], and close it. A group that is never closed never ends.
type Group struct {
	c     *Client
	id    ID
	lossy bool

	// mu is held while tasks are added, and guards the field below.
	mu    sync.Mutex
	added int64
}

// OpenGroup begins a group. Of options it takes [Then], which may be repeated, [Partial] and [Lossy]. Without Then the group only ends.
// Errors are those of [Enqueue].
func OpenGroup(ctx context.Context, c *Client, options ...Option) (*Group, error) {
	s, err := specOf(defaultKeep, options)
	if err != nil {
		return nil, err
	}
	id, err := c.openGroup(ctx, &s)
	return &Group{c: c, id: id, lossy: s.lossy}, err
}

// ID names the group: [Attach] with it waits for the end of the group and of what follows, and returns the result of the last, also later, as long as that is kept.
// [Client.Cancel] with it ends the group and its tasks. How it ended is known of the last 10,000 groups that nothing followed.
func (g *Group) ID() ID { return g.id }

// Close says that the group has all its tasks. A group that was closed is no error. Errors are those of [Enqueue].
func (g *Group) Close(ctx context.Context) error { return g.c.closeGroup(ctx, g.id) }

// AddToGroup is [EnqueueAll] for tasks of a group, which gathers their results in the order of the calls. They are kept as durable as the group is.
// A task that is refused, and those after it, get no ID and can be added again; one that was accepted is added once, though the answer was lost. Calls for the same group
// follow one another.
func AddToGroup[In any](ctx context.Context, g *Group, function string, inputs []In, options ...Option) ([]ID, error) {
	s, err := backgroundSpec(function, options)
	if err == nil && s.unique != "" {
		err = fmt.Errorf("%w: Unique is not for tasks of a group", ErrInvalid)
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

// ErrMissing is the error of results that a group went on without; see [Partial].
var ErrMissing = errors.New("failed or was cancelled")

// Gathered is the input of the task that follows a group: one result for each task of the group, in the order in which they were added. ID is not set. A task
// without a result has the error [ErrMissing]. A handler that takes a []T instead gets zero values in such places; one that takes a []byte, string or
// json.RawMessage gets what workers get that do not know Go's types: a JSON array of objects with id, outcome (done, failed, cancelled), and result with its
// encoding (json, text, base64) or error.
type Gathered[T any] []Result[T]

// gathered is how a group's results reach the handler of another type.
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
		array := make([]json.RawMessage, len(results)) // nil is null
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
