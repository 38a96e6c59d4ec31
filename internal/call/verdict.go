package call

import "context"

// SkipError is an error of user code that sets its record aside.
type SkipError struct{ Err error }

func (e *SkipError) Error() string { return e.Err.Error() }
func (e *SkipError) Unwrap() error { return e.Err }

// FatalError is an error of user code that ends its job.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }
func (e *FatalError) Unwrap() error { return e.Err }

type memoryKey struct{}

// WithMemory returns a context in which [Memory] returns n.
func WithMemory(ctx context.Context, n int64) context.Context {
	return context.WithValue(ctx, memoryKey{}, n)
}

// Memory returns the number of bytes that user code with this context may hold; zero if unknown.
func Memory(ctx context.Context) int64 {
	n, _ := ctx.Value(memoryKey{}).(int64)
	return n
}
