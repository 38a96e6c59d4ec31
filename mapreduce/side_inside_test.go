package mapreduce

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// An attempt that waits for the side of another one loads it itself once the other one fails, and
// stops waiting when it is cancelled.
func TestSideOfCancelledAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, n := &shared{}, &node{id: 1}
		first, second := &env{shared: x, ctx: t.Context()}, &env{shared: x, ctx: t.Context()}
		third, cancel := context.WithCancel(t.Context())
		fail, errCancelled := make(chan struct{}), errors.New("cancelled")
		results := make(chan error, 3)
		go func() {
			_, err := sideValue(first, n, func() (*int, error) { <-fail; return nil, errCancelled })
			results <- err
		}()
		synctest.Wait()
		go func() {
			_, err := sideValue(&env{shared: x, ctx: third}, n, func() (*int, error) { t.Error("loaded twice"); return nil, nil })
			results <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled one: %v", err)
		}
		go func() {
			v, err := sideValue(second, n, func() (*int, error) { v := 7; return &v, nil })
			if err == nil && *v != 7 {
				t.Error(*v)
			}
			results <- err
		}()
		synctest.Wait()
		close(fail)
		one, other := <-results, <-results
		if !errors.Is(errors.Join(one, other), errCancelled) || one != nil && other != nil {
			t.Errorf("%v and %v, want the error for the first alone", one, other)
		}
	})
}
