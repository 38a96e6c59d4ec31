package queue

// A client that got no answer to a submit, because its connection broke or the coordinator ended,
// submits the task again. The token of the submit tells whether the first one arrived. Records
// contain tokens, so this holds over a restart too.
//
// The tokens of the latest submits are kept in a ring. They are only searched for a repeated
// submit, which is rare, so a submit costs no look-up. The first search makes an index.

// maxTokens limits the ring of tokens. It holds more than all submits that can be without an
// answer at a time.
const maxTokens = 1 << 20

// tokens is the ring of the latest submits with a token.
type tokens struct {
	ring []submitted
	next int // index of the oldest entry, once the ring is full
	// last is the latest task of each token in the ring; nil before the first search.
	last map[uint64]ID
}

type submitted struct {
	token uint64
	task  ID
}

// add stores the token of a task.
func (t *tokens) add(token uint64, task ID) {
	if token == 0 {
		return
	}
	if len(t.ring) < maxTokens {
		t.ring = append(t.ring, submitted{token, task})
	} else {
		if oldest := t.ring[t.next]; t.last != nil && t.last[oldest.token] == oldest.task {
			delete(t.last, oldest.token)
		}
		t.ring[t.next] = submitted{token, task}
		t.next = (t.next + 1) % maxTokens
	}
	if t.last != nil {
		t.last[token] = task
	}
}

// find returns the latest task submitted with a token, or zero.
func (t *tokens) find(token uint64) ID {
	if t.last == nil {
		t.last = make(map[uint64]ID, len(t.ring))
		for i := range t.ring {
			at := t.ring[(t.next+i)%len(t.ring)]
			t.last[at.token] = at.task
		}
	}
	return t.last[token]
}
