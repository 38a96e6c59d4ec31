package queue

import "testing"

// The index finds the latest task of a token, and forgets the tokens that leave the ring.
func TestTokens(t *testing.T) {
	var all tokens
	find := func(token uint64, want ID) {
		t.Helper()
		if got := all.find(token); got != want {
			t.Errorf("token %d: task %d, want %d", token, got, want)
		}
	}
	for i := range uint64(maxTokens) + 1 { // the last one takes the place of the first
		all.add(i+1, ID(i+1))
	}
	find(1, 0)
	find(2, 2)
	find(maxTokens+1, maxTokens+1)
	all.add(3, 77)
	find(2, 0)
	find(3, 77) // its older entry leaves next, and takes nothing along
	all.add(9, 78)
	find(3, 77)
	all.add(0, 79)
	find(0, 0)
}
