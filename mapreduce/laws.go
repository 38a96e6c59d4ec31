package mapreduce

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"reflect"

	"github.com/layshaft/layshaft/internal/record"
)

// A verifying run checks the functions of ReduceByKey with values of its own data. f must be
// associative, because nobody can predict which values meet first; anything else is an error. A
// function whose result depends on the order of its arguments is allowed, and only noted: values
// meet in the order of the input.

// verifyKey is the key of the *verifyNotes in the context of a verifying run.
type verifyKey struct{}

// verifyNotes collects what a verifying run found that is no error. One goroutine uses it.
type verifyNotes struct {
	texts []string
	nodes map[string]bool // places with a note
}

func verifyNotesOf(ctx context.Context) *verifyNotes {
	v, _ := ctx.Value(verifyKey{}).(*verifyNotes)
	return v
}

const (
	lawKeys   = 4096 // keys of a task whose values are checked
	lawChecks = 16   // checks of each key
)

// laws checks a function of two values in one attempt.
type laws[K, V any] struct {
	n     *node
	f     func(a, b V) V
	notes *verifyNotes
	keys  *record.KeyCodec[K]
	codec *record.Codec[V]
	seen  map[string]*lawValues
}

// lawValues are the last two values of a key, encoded, because f may change its arguments.
type lawValues struct {
	last   [2][]byte
	count  int
	checks int
}

// observe takes the next value of a key, and returns an error if the last three break the law.
func (l *laws[K, V]) observe(k *K, v *V) error {
	s := l.seen[string(l.keys.Append(nil, k))]
	if s == nil {
		if len(l.seen) == lawKeys {
			return nil
		}
		s = &lawValues{}
		l.seen[string(l.keys.Append(nil, k))] = s
	}
	if s.checks == lawChecks {
		return nil
	}
	b := l.codec.Append(nil, v)
	if s.count++; s.count >= 2 {
		s.checks++
		if err := l.check(*k, s.last[0], s.last[1], b, s.count > 2); err != nil {
			return err
		}
	}
	s.last[0], s.last[1] = s.last[1], b
	return nil
}

// check checks the order of y and z, and with three the grouping of x, y and z.
func (l *laws[K, V]) check(k K, x, y, z []byte, three bool) (err error) {
	v := func(b []byte) (v V) {
		if err == nil {
			_, err = l.codec.Decode(b, &v)
		}
		return v
	}
	if three {
		left, right := l.f(l.f(v(x), v(y)), v(z)), l.f(v(x), l.f(v(y), v(z)))
		if err == nil && !l.isEqual(left, right) {
			return Fatal(fmt.Errorf("verify: %s at %s: its function is not associative, so the result depends on how the input is split: for key %v, with a = %v, b = %v and c = %v, f(f(a, b), c) is %s and f(a, f(b, c)) is %s",
				l.n.label(), l.n.at, k, v(x), v(y), v(z), shown(left), shown(right)))
		}
	}
	if l.notes.nodes[l.n.at] {
		return err
	}
	left, right := l.f(v(y), v(z)), l.f(v(z), v(y))
	if err == nil && !l.isEqual(left, right) {
		l.notes.nodes[l.n.at] = true
		l.notes.texts = append(l.notes.texts, fmt.Sprintf("verify: %s at %s: its function is not commutative, so the result depends on the order of the input: for key %v, with a = %v and b = %v, f(a, b) is %s and f(b, a) is %s",
			l.n.label(), l.n.at, k, v(y), v(z), shown(left), shown(right)))
	}
	return err
}

// shown formats a value for a message.
func shown(v any) string {
	text := fmt.Sprintf("%+v", v)
	if len(text) > 200 {
		text = text[:200] + " …"
	}
	return text
}

// isEqual compares values by their encoding, and floating point numbers with a tolerance for
// rounding.
func (l *laws[K, V]) isEqual(a, b V) bool {
	return bytes.Equal(l.codec.Append(nil, &a), l.codec.Append(nil, &b)) || isNear(reflect.ValueOf(a), reflect.ValueOf(b))
}

// isNear reports whether two values of one type differ in the rounding of floating point numbers
// alone.
func isNear(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		x, y := a.Float(), b.Float()
		within := 1e-9
		if a.Kind() == reflect.Float32 {
			within = 1e-4
		}
		return x == y || x != x && y != y || math.Abs(x-y) <= within*max(math.Abs(x), math.Abs(y), 1)
	case reflect.Struct:
		for i := range a.NumField() {
			if !isNear(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Array, reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !isNear(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return isNear(a.Elem(), b.Elem())
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			if v := b.MapIndex(it.Key()); !v.IsValid() || !isNear(it.Value(), v) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}

// checkLaws makes n, a ReduceByKey with function f, check f in a verifying run.
func checkLaws[K, V any](n *node, f func(a, b V) V) {
	if n.wide == nil {
		return // refused
	}
	keys, codec := keyCodec[K](n), valueCodec[V](n)
	write := n.wide.write
	n.wide.write = func(e *env, input int, w *port) (any, func() error) {
		push, flush := write(e, input, w)
		notes := verifyNotesOf(e.ctx)
		if notes == nil {
			return push, flush
		}
		next := push.(func(*KV[K, V]))
		l := &laws[K, V]{n, f, notes, keys, codec, map[string]*lawValues{}}
		return func(kv *KV[K, V]) {
			if e.err == nil {
				e.fail(l.observe(&kv.Key, &kv.Value))
			}
			next(kv)
		}, flush
	}
}
