// Package mapreduce has the signatures that the analyzer looks at.
package mapreduce

import "context"

type (
	Plan                 struct{}
	Dataset[T any]       struct{}
	Definition[P, T any] struct{}
	Source[T any]        interface{ Splits() }
	Agg[T, A, R any]     struct{ Add func(*A, T) }
	PlanOption           interface{}
	Counter              struct{}
)

func (c *Counter) Add(n int64) {}

func NewCounter(p *Plan, name string) *Counter { return nil }

func Define[P, T any](name string, build func(p *Plan, in P) Dataset[T], opts ...PlanOption) *Definition[P, T] {
	return nil
}

func Env(names ...string) PlanOption                     { return nil }
func Read[T any](p *Plan, s Source[T]) Dataset[T]        { return Dataset[T]{} }
func Map[T, U any](d Dataset[T], f func(T) U) Dataset[U] { return Dataset[U]{} }
func MapTask[T, U any](d Dataset[T], start func(emit func(U)) func(T) error) Dataset[U] {
	return Dataset[U]{}
}
func Union[T any](first Dataset[T], others ...Dataset[T]) Dataset[T]     { return first }
func Aggregate[T, A, R any](d Dataset[T], a Agg[T, A, R]) Dataset[R]     { return Dataset[R]{} }
func (d Dataset[T]) Filter(f func(T) bool) Dataset[T]                    { return d }
func WithFiles(ctx context.Context, f func(context.Context) error) error { return f(ctx) }
