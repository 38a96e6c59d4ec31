package agg

import (
	"cmp"
	"reflect"

	"github.com/layshaft/layshaft/internal/sketch"
)

// Over turns an aggregate over T into an aggregate over U, by passing it f of every record.
func Over[U, T, A, R any](agg Agg[T, A, R], f func(U) T) Agg[U, A, R] {
	if f == nil || !agg.Complete() {
		return Agg[U, A, R]{Err: agg.Err}
	}
	add := agg.Add
	return Agg[U, A, R]{
		Add:    func(a *A, v U) { add(a, f(v)) },
		Merge:  agg.Merge,
		Result: agg.Result,
		Size:   agg.Size,

		Unordered: agg.Unordered,
		Commutes:  agg.Commutes,
	}
}

// Where passes an aggregate only the records for which keep returns true.
func Where[T, A, R any](agg Agg[T, A, R], keep func(T) bool) Agg[T, A, R] {
	if keep == nil || !agg.Complete() {
		return Agg[T, A, R]{Err: agg.Err}
	}
	add := agg.Add
	agg.Add = func(a *A, v T) {
		if keep(v) {
			add(a, v)
		}
	}
	return agg
}

// MapResult applies f to the result of an aggregate.
func MapResult[T, A, R, S any](agg Agg[T, A, R], f func(R) S) Agg[T, A, S] {
	if f == nil || !agg.Complete() {
		return Agg[T, A, S]{Err: agg.Err}
	}
	result := agg.Result
	return Agg[T, A, S]{
		Add:    agg.Add,
		Merge:  agg.Merge,
		Result: func(a *A) S { return f(result(a)) },
		Size:   agg.Size,

		Unordered: agg.Unordered,
		Commutes:  agg.Commutes,
	}
}

// isUnsized reports whether an accumulator A holds memory and has no Size. A composition with such
// an aggregate leaves its own Size nil, so that the engine estimates the whole accumulator.
func isUnsized[A any](size func(*A) int) bool {
	return size == nil && sketch.HasPointers(reflect.TypeFor[A]())
}

// sizeOrZero returns size, or a function that returns zero if size is nil.
func sizeOrZero[A any](size func(*A) int) func(*A) int {
	if size == nil {
		return func(*A) int { return 0 }
	}
	return size
}

// Acc2 is the accumulator of two aggregates: A and B are their accumulators, in the order of the
// arguments.
type Acc2[A, B any] struct {
	A A
	B B
}

// Compose2 runs two aggregates over the same records, and makes one result of their results.
func Compose2[T, A, B, R1, R2, R any](
	a1 Agg[T, A, R1],
	a2 Agg[T, B, R2],
	result func(R1, R2) R,
) Agg[T, Acc2[A, B], R] {
	type acc = Acc2[A, B]
	if result == nil || !a1.Complete() || !a2.Complete() {
		return Agg[T, acc, R]{Err: cmp.Or(a1.Err, a2.Err)}
	}
	agg := Agg[T, acc, R]{
		Unordered: a1.Unordered && a2.Unordered,
		Commutes:  a1.commutes() && a2.commutes(),
		Add: func(a *acc, v T) {
			a1.Add(&a.A, v)
			a2.Add(&a.B, v)
		},
		Merge: func(a, b *acc) {
			a1.Merge(&a.A, &b.A)
			a2.Merge(&a.B, &b.B)
		},
		Result: func(a *acc) R {
			return result(a1.Result(&a.A), a2.Result(&a.B))
		},
	}
	if isUnsized(a1.Size) || isUnsized(a2.Size) ||
		!sketch.HasPointers(reflect.TypeFor[acc]()) {
		return agg
	}
	s1, s2 := sizeOrZero(a1.Size), sizeOrZero(a2.Size)
	agg.Size = func(a *acc) int {
		return s1(&a.A) + s2(&a.B)
	}
	return agg
}

// Acc3 is the accumulator of three aggregates: A, B and C are their accumulators, in the order of
// the arguments.
type Acc3[A, B, C any] struct {
	A A
	B B
	C C
}

// Compose3 runs three aggregates over the same records, and makes one result of their results.
func Compose3[T, A, B, C, R1, R2, R3, R any](
	a1 Agg[T, A, R1],
	a2 Agg[T, B, R2],
	a3 Agg[T, C, R3],
	result func(R1, R2, R3) R,
) Agg[T, Acc3[A, B, C], R] {
	type acc = Acc3[A, B, C]
	if result == nil || !a1.Complete() || !a2.Complete() || !a3.Complete() {
		return Agg[T, acc, R]{Err: cmp.Or(a1.Err, a2.Err, a3.Err)}
	}
	agg := Agg[T, acc, R]{
		Unordered: a1.Unordered && a2.Unordered && a3.Unordered,
		Commutes:  a1.commutes() && a2.commutes() && a3.commutes(),
		Add: func(a *acc, v T) {
			a1.Add(&a.A, v)
			a2.Add(&a.B, v)
			a3.Add(&a.C, v)
		},
		Merge: func(a, b *acc) {
			a1.Merge(&a.A, &b.A)
			a2.Merge(&a.B, &b.B)
			a3.Merge(&a.C, &b.C)
		},
		Result: func(a *acc) R {
			return result(a1.Result(&a.A), a2.Result(&a.B), a3.Result(&a.C))
		},
	}
	if isUnsized(a1.Size) || isUnsized(a2.Size) || isUnsized(a3.Size) ||
		!sketch.HasPointers(reflect.TypeFor[acc]()) {
		return agg
	}
	s1, s2, s3 := sizeOrZero(a1.Size), sizeOrZero(a2.Size), sizeOrZero(a3.Size)
	agg.Size = func(a *acc) int {
		return s1(&a.A) + s2(&a.B) + s3(&a.C)
	}
	return agg
}

// Acc4 is the accumulator of four aggregates: A, B, C and D are their accumulators, in the order of
// the arguments.
type Acc4[A, B, C, D any] struct {
	A A
	B B
	C C
	D D
}

// Compose4 runs four aggregates over the same records, and makes one result of their results.
func Compose4[T, A, B, C, D, R1, R2, R3, R4, R any](
	a1 Agg[T, A, R1],
	a2 Agg[T, B, R2],
	a3 Agg[T, C, R3],
	a4 Agg[T, D, R4],
	result func(R1, R2, R3, R4) R,
) Agg[T, Acc4[A, B, C, D], R] {
	type acc = Acc4[A, B, C, D]
	if result == nil || !a1.Complete() || !a2.Complete() || !a3.Complete() || !a4.Complete() {
		return Agg[T, acc, R]{Err: cmp.Or(a1.Err, a2.Err, a3.Err, a4.Err)}
	}
	agg := Agg[T, acc, R]{
		Unordered: a1.Unordered && a2.Unordered && a3.Unordered && a4.Unordered,
		Commutes:  a1.commutes() && a2.commutes() && a3.commutes() && a4.commutes(),
		Add: func(a *acc, v T) {
			a1.Add(&a.A, v)
			a2.Add(&a.B, v)
			a3.Add(&a.C, v)
			a4.Add(&a.D, v)
		},
		Merge: func(a, b *acc) {
			a1.Merge(&a.A, &b.A)
			a2.Merge(&a.B, &b.B)
			a3.Merge(&a.C, &b.C)
			a4.Merge(&a.D, &b.D)
		},
		Result: func(a *acc) R {
			return result(a1.Result(&a.A), a2.Result(&a.B), a3.Result(&a.C), a4.Result(&a.D))
		},
	}
	if isUnsized(a1.Size) || isUnsized(a2.Size) || isUnsized(a3.Size) || isUnsized(a4.Size) ||
		!sketch.HasPointers(reflect.TypeFor[acc]()) {
		return agg
	}
	s1, s2, s3, s4 := sizeOrZero(a1.Size), sizeOrZero(a2.Size), sizeOrZero(a3.Size), sizeOrZero(a4.Size)
	agg.Size = func(a *acc) int {
		return s1(&a.A) + s2(&a.B) + s3(&a.C) + s4(&a.D)
	}
	return agg
}

// Acc5 is the accumulator of five aggregates: A, B, C, D and E are their accumulators, in the order
// of the arguments.
type Acc5[A, B, C, D, E any] struct {
	A A
	B B
	C C
	D D
	E E
}

// Compose5 runs five aggregates over the same records, and makes one result of their results.
func Compose5[T, A, B, C, D, E, R1, R2, R3, R4, R5, R any](
	a1 Agg[T, A, R1],
	a2 Agg[T, B, R2],
	a3 Agg[T, C, R3],
	a4 Agg[T, D, R4],
	a5 Agg[T, E, R5],
	result func(R1, R2, R3, R4, R5) R,
) Agg[T, Acc5[A, B, C, D, E], R] {
	type acc = Acc5[A, B, C, D, E]
	if result == nil || !a1.Complete() || !a2.Complete() || !a3.Complete() || !a4.Complete() || !a5.Complete() {
		return Agg[T, acc, R]{Err: cmp.Or(a1.Err, a2.Err, a3.Err, a4.Err, a5.Err)}
	}
	agg := Agg[T, acc, R]{
		Unordered: a1.Unordered && a2.Unordered && a3.Unordered && a4.Unordered && a5.Unordered,
		Commutes:  a1.commutes() && a2.commutes() && a3.commutes() && a4.commutes() && a5.commutes(),
		Add: func(a *acc, v T) {
			a1.Add(&a.A, v)
			a2.Add(&a.B, v)
			a3.Add(&a.C, v)
			a4.Add(&a.D, v)
			a5.Add(&a.E, v)
		},
		Merge: func(a, b *acc) {
			a1.Merge(&a.A, &b.A)
			a2.Merge(&a.B, &b.B)
			a3.Merge(&a.C, &b.C)
			a4.Merge(&a.D, &b.D)
			a5.Merge(&a.E, &b.E)
		},
		Result: func(a *acc) R {
			return result(a1.Result(&a.A), a2.Result(&a.B), a3.Result(&a.C), a4.Result(&a.D), a5.Result(&a.E))
		},
	}
	if isUnsized(a1.Size) || isUnsized(a2.Size) || isUnsized(a3.Size) || isUnsized(a4.Size) || isUnsized(a5.Size) ||
		!sketch.HasPointers(reflect.TypeFor[acc]()) {
		return agg
	}
	s1, s2, s3, s4, s5 := sizeOrZero(a1.Size), sizeOrZero(a2.Size), sizeOrZero(a3.Size), sizeOrZero(a4.Size), sizeOrZero(a5.Size)
	agg.Size = func(a *acc) int {
		return s1(&a.A) + s2(&a.B) + s3(&a.C) + s4(&a.D) + s5(&a.E)
	}
	return agg
}

// Acc6 is the accumulator of six aggregates: A, B, C, D, E and F are their accumulators, in the
// order of the arguments.
type Acc6[A, B, C, D, E, F any] struct {
	A A
	B B
	C C
	D D
	E E
	F F
}

// Compose6 runs six aggregates over the same records, and makes one result of their results.
func Compose6[T, A, B, C, D, E, F, R1, R2, R3, R4, R5, R6, R any](
	a1 Agg[T, A, R1],
	a2 Agg[T, B, R2],
	a3 Agg[T, C, R3],
	a4 Agg[T, D, R4],
	a5 Agg[T, E, R5],
	a6 Agg[T, F, R6],
	result func(R1, R2, R3, R4, R5, R6) R,
) Agg[T, Acc6[A, B, C, D, E, F], R] {
	type acc = Acc6[A, B, C, D, E, F]
	if result == nil || !a1.Complete() || !a2.Complete() || !a3.Complete() || !a4.Complete() || !a5.Complete() || !a6.Complete() {
		return Agg[T, acc, R]{Err: cmp.Or(a1.Err, a2.Err, a3.Err, a4.Err, a5.Err, a6.Err)}
	}
	agg := Agg[T, acc, R]{
		Unordered: a1.Unordered && a2.Unordered && a3.Unordered && a4.Unordered && a5.Unordered && a6.Unordered,
		Commutes:  a1.commutes() && a2.commutes() && a3.commutes() && a4.commutes() && a5.commutes() && a6.commutes(),
		Add: func(a *acc, v T) {
			a1.Add(&a.A, v)
			a2.Add(&a.B, v)
			a3.Add(&a.C, v)
			a4.Add(&a.D, v)
			a5.Add(&a.E, v)
			a6.Add(&a.F, v)
		},
		Merge: func(a, b *acc) {
			a1.Merge(&a.A, &b.A)
			a2.Merge(&a.B, &b.B)
			a3.Merge(&a.C, &b.C)
			a4.Merge(&a.D, &b.D)
			a5.Merge(&a.E, &b.E)
			a6.Merge(&a.F, &b.F)
		},
		Result: func(a *acc) R {
			return result(a1.Result(&a.A), a2.Result(&a.B), a3.Result(&a.C), a4.Result(&a.D), a5.Result(&a.E), a6.Result(&a.F))
		},
	}
	if isUnsized(a1.Size) || isUnsized(a2.Size) || isUnsized(a3.Size) || isUnsized(a4.Size) || isUnsized(a5.Size) || isUnsized(a6.Size) ||
		!sketch.HasPointers(reflect.TypeFor[acc]()) {
		return agg
	}
	s1, s2, s3, s4, s5, s6 := sizeOrZero(a1.Size), sizeOrZero(a2.Size), sizeOrZero(a3.Size), sizeOrZero(a4.Size), sizeOrZero(a5.Size), sizeOrZero(a6.Size)
	agg.Size = func(a *acc) int {
		return s1(&a.A) + s2(&a.B) + s3(&a.C) + s4(&a.D) + s5(&a.E) + s6(&a.F)
	}
	return agg
}
