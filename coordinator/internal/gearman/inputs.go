package gearman

import (
	"strconv"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// slotMask is the part of an ID that no two tasks share at a time; see queue.ID.
const slotMask = 1<<26 - 1

// inputs holds the inputs of tasks, in pages by slot. What few tasks have is elsewhere.
type inputs struct {
	pages [][]input
	more  map[queue.ID]string // reducers
}

type input struct {
	unique string
	data   []byte
}

const inputPage = 1 << 10

func (s *inputs) at(id queue.ID) *input {
	slot := int(id & slotMask)
	for len(s.pages) <= slot/inputPage {
		s.pages = append(s.pages, nil)
	}
	if s.pages[slot/inputPage] == nil {
		s.pages[slot/inputPage] = make([]input, inputPage)
	}
	return &s.pages[slot/inputPage][slot%inputPage]
}

func (s *inputs) put(id queue.ID, in Input) {
	*s.at(id) = input{in.Unique, in.Data}
	if in.Reducer != "" {
		if s.more == nil {
			s.more = map[queue.ID]string{}
		}
		s.more[id] = in.Reducer
	}
}

func (s *inputs) get(id queue.ID) Input {
	in := s.at(id)
	return Input{Unique: in.unique, Reducer: s.more[id], Data: in.data}
}

func (s *inputs) drop(id queue.ID) {
	*s.at(id) = input{}
	delete(s.more, id)
}

func decimal(n uint64) []byte { return strconv.AppendUint(nil, n, 10) }
