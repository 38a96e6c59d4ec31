package tasks

import (
	"context"
	"errors"
	"testing"
)

// TestNilClient checks that a nil client is an error, not a crash.
func TestNilClient(t *testing.T) {
	ctx := context.Background()
	calls := map[string]func() error{
		"Do":         func() error { _, err := Do[string](ctx, nil, "f", 1); return err },
		"Enqueue":    func() error { _, err := Enqueue(ctx, nil, "f", 1); return err },
		"EnqueueAll": func() error { _, err := EnqueueAll(ctx, nil, "f", []int{1}); return err },
		"OpenGroup":  func() error { _, err := OpenGroup(ctx, nil); return err },
		"Attach":     func() error { _, err := Attach[string](ctx, nil, 1); return err },
		"Scatter": func() error {
			for r := range Scatter[string](ctx, nil, "f", []int{1}) {
				return r.Err
			}
			return nil
		},
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}
