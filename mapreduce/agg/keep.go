package agg

import (
	"cmp"
	"slices"
	"sort"
	"unsafe"
)

// First returns the first record in the input order of the stage.
func First[T any]() Agg[T, Maybe[T], Maybe[T]] {
	return Agg[T, Maybe[T], Maybe[T]]{
		Add: func(a *Maybe[T], v T) {
			if !a.OK {
				*a = Maybe[T]{cloneOf(v), true}
			}
		},
		Merge: func(a, b *Maybe[T]) {
			if !a.OK {
				*a = *b
			}
		},
		Result: func(a *Maybe[T]) Maybe[T] { return *a },
		Size:   sizeOfOne(func(a *Maybe[T]) *T { return &a.Value }),
	}
}

// Any returns some record, the same in every run.
func Any[T any]() Agg[T, Maybe[T], Maybe[T]] { return First[T]() }

// Last returns the last record in the input order of the stage. It copies the strings and slices of
// every record, so use Over to pick the fields you need.
func Last[T any]() Agg[T, Maybe[T], Maybe[T]] {
	return Agg[T, Maybe[T], Maybe[T]]{
		Add: func(a *Maybe[T], v T) {
			*a = Maybe[T]{cloneOf(v), true}
		},
		Merge: func(a, b *Maybe[T]) {
			if b.OK {
				*a = *b
			}
		},
		Result: func(a *Maybe[T]) Maybe[T] { return *a },
		Size:   sizeOfOne(func(a *Maybe[T]) *T { return &a.Value }),
	}
}

// MinBy returns the record with the smallest score; of equal scores the first record. It ignores
// records with a score of NaN.
func MinBy[T any, S cmp.Ordered](score func(T) S) Agg[T, Best[T, S], Maybe[T]] {
	if score == nil {
		return Agg[T, Best[T, S], Maybe[T]]{}
	}
	return Agg[T, Best[T, S], Maybe[T]]{
		Add:    func(a *Best[T, S], v T) { a.AddMin(v, score(v)) },
		Merge:  func(a, b *Best[T, S]) { a.MergeMin(b) },
		Result: bestValue[T, S],
		Size:   sizeOfOne(func(a *Best[T, S]) *Best[T, S] { return a }),
	}
}

// MaxBy returns the record with the largest score; of equal scores the first record. It ignores
// records with a score of NaN.
func MaxBy[T any, S cmp.Ordered](score func(T) S) Agg[T, Best[T, S], Maybe[T]] {
	if score == nil {
		return Agg[T, Best[T, S], Maybe[T]]{}
	}
	return Agg[T, Best[T, S], Maybe[T]]{
		Add:    func(a *Best[T, S], v T) { a.AddMax(v, score(v)) },
		Merge:  func(a, b *Best[T, S]) { a.MergeMax(b) },
		Result: bestValue[T, S],
		Size:   sizeOfOne(func(a *Best[T, S]) *Best[T, S] { return a }),
	}
}

func bestValue[T any, S cmp.Ordered](a *Best[T, S]) Maybe[T] { return Maybe[T]{a.Value, a.OK} }

// Best keeps the record with the smallest or the largest score; its zero value is empty. Use either
// AddMin and MergeMin, or AddMax and MergeMax. Of equal scores the first record stays. Best ignores
// records with a score of NaN.
type Best[T any, S cmp.Ordered] struct {
	Value T    // the zero value when OK is false
	Score S    // the score of Value
	OK    bool // whether there is a record
}

// AddMin keeps a copy of v if score is below the present score.
func (b *Best[T, S]) AddMin(v T, score S) {
	if b.OK && score < b.Score || !b.OK && score == score {
		b.keep(v, score)
	}
}

// AddMax keeps a copy of v if score is above the present score.
func (b *Best[T, S]) AddMax(v T, score S) {
	if b.OK && score > b.Score || !b.OK && score == score {
		b.keep(v, score)
	}
}

func (b *Best[T, S]) keep(v T, score S) {
	*b = Best[T, S]{cloneOf(v), cloneOf(score), true}
}

// MergeMin keeps the record of o if its score is below the present score.
func (b *Best[T, S]) MergeMin(o *Best[T, S]) {
	if o.OK && (!b.OK || o.Score < b.Score) {
		*b = *o
	}
}

// MergeMax keeps the record of o if its score is above the present score.
func (b *Best[T, S]) MergeMax(o *Best[T, S]) {
	if o.OK && (!b.OK || o.Score > b.Score) {
		*b = *o
	}
}

// TopK returns the k records with the largest scores, best first; equal scores keep the order of
// the records. It ignores records with a score of NaN. To get the smallest scores, return -score.
// Add takes constant time for most records, and time in proportion to k for a record among the
// best: choose k in the tens to thousands.
func TopK[T any, S cmp.Ordered](k int, score func(T) S) Agg[T, TopN[T, S], []T] {
	if score == nil {
		return Agg[T, TopN[T, S], []T]{}
	}
	return Agg[T, TopN[T, S], []T]{
		Add:   func(a *TopN[T, S], v T) { a.Add(k, v, score(v)) },
		Merge: func(a, b *TopN[T, S]) { a.Merge(k, b) },
		Result: func(a *TopN[T, S]) []T {
			vs := make([]T, len(a.Items))
			for i := range a.Items {
				vs[i] = a.Items[i].Value
			}
			return vs
		},
		Size: func(a *TopN[T, S]) int { return a.Size() },
	}
}

// Scored is a record with its score.
type Scored[T any, S cmp.Ordered] struct {
	Value T // the record
	Score S // its score
}

// TopN keeps the n records with the largest scores; its zero value is empty. Every call must pass
// the same n. Equal scores keep the order of the records. TopN ignores records with a score of NaN.
type TopN[T any, S cmp.Ordered] struct {
	Items []Scored[T, S] // best first
	Held  int            // bytes of the strings and slices in Items
}

// Add keeps a copy of v if its score is among the n largest.
func (t *TopN[T, S]) Add(n int, v T, score S) {
	if len(t.Items) >= n && (n <= 0 || !(score > t.Items[n-1].Score)) || score != score {
		return
	}
	if len(t.Items) == n {
		t.Held -= heldBytes(&t.Items[n-1])
		t.Items = t.Items[:n-1]
	}
	at := sort.Search(len(t.Items), func(i int) bool { return t.Items[i].Score < score })
	t.Items = slices.Insert(t.Items, at, Scored[T, S]{cloneOf(v), cloneOf(score)})
	t.Held += heldBytes(&t.Items[at])
}

// Merge keeps the n best records of t and b; of equal scores the records of t come first.
func (t *TopN[T, S]) Merge(n int, b *TopN[T, S]) {
	if len(t.Items) == 0 {
		*t = *b
		return
	}
	x, y := t.Items, b.Items
	t.Items = make([]Scored[T, S], 0, max(0, min(n, len(x)+len(y))))
	t.Held += b.Held
	for len(x)+len(y) > 0 {
		from := &x
		if len(x) == 0 || len(y) > 0 && y[0].Score > x[0].Score {
			from = &y
		}
		if len(t.Items) < n {
			t.Items = append(t.Items, (*from)[0])
		} else {
			t.Held -= heldBytes(&(*from)[0])
		}
		*from = (*from)[1:]
	}
}

// Size returns the bytes held beyond the fixed size of a TopN.
func (t *TopN[T, S]) Size() int {
	return cap(t.Items)*int(unsafe.Sizeof(Scored[T, S]{})) + t.Held
}

// CollectList returns the first limit records in the input order of the stage. A limit of zero or
// below keeps none.
func CollectList[T any](limit int) Agg[T, List[T], []T] {
	return Agg[T, List[T], []T]{
		Add:    func(a *List[T], v T) { a.Add(limit, v) },
		Merge:  func(a, b *List[T]) { a.Merge(limit, b) },
		Result: func(a *List[T]) []T { return a.Items },
		Size:   func(a *List[T]) int { return a.Size() },
	}
}

// List keeps the first records up to a limit; its zero value is empty. Every call must pass the
// same limit.
type List[T any] struct {
	Items []T // in the order in which they were added
	Held  int // bytes of the strings and slices in Items
}

// Add keeps a copy of v if the list has fewer than limit records.
func (l *List[T]) Add(limit int, v T) {
	if len(l.Items) < limit {
		l.Items = append(l.Items, cloneOf(v))
		l.Held += heldBytes(&l.Items[len(l.Items)-1])
	}
}

// Merge appends records of b until the list has limit records.
func (l *List[T]) Merge(limit int, b *List[T]) {
	for i := range b.Items {
		if len(l.Items) >= limit {
			return
		}
		l.Held += heldBytes(&b.Items[i])
		l.Items = append(l.Items, b.Items[i])
	}
}

// Size returns the bytes held beyond the fixed size of a List.
func (l *List[T]) Size() int {
	var v T
	return cap(l.Items)*int(unsafe.Sizeof(v)) + l.Held
}
