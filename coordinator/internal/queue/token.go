package queue

// A client that got no answer to a submit, because its connection broke or the coordinator ended,
// submits the task again. The token of the submit tells whether the first one arrived. Records
// contain tokens, so this holds over a restart too.
//
// The tokens of the latest submits are kept in a ring. They are only searched for a repeated
// submit, which is rare, so a submit costs no look-up.

// maxTokens limits the ring of tokens. It holds more than all submits that can be without an
// answer at a time.
const maxTokens = 1 << 20

// tokens is the ring of the latest submits with a token.
type tokens struct {
	ring []submitted
	next int // index of the oldest entry, once the ring is full
}

type submitted struct {
	token uint64
	task  ID
}

// add stores the token of a task.
func (t *tokens) add(token uint64, task ID) {
	switch {
	case token == 0:
	case len(t.ring) < maxTokens:
		t.ring = append(t.ring, submitted{token, task})
	default:
		t.ring[t.next] = submitted{token, task}
		t.next = (t.next + 1) % maxTokens
	}
}

// find returns the task submitted with a token, or zero.
func (t *tokens) find(token uint64) ID {
	for i := len(t.ring) - 1; i >= 0; i-- {
		if t.ring[i].token == token {
			return t.ring[i].task
		}
	}
	return 0
}
