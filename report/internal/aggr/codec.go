package aggr

import (
	"fmt"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// decoder reads the parts of a state.
type decoder struct{ cursor.Cursor }

func decoderOf(state []byte) decoder { return decoder{cursor.Over(state)} }

// end returns the rest of the bytes, or the error.
func (d *decoder) end() ([]byte, error) {
	if d.Failed() {
		return nil, vec.ErrCorrupt
	}
	return d.Rest(), nil
}

// rows reads a number of rows.
func (d *decoder) rows() int64 { return d.Upto(1 << 56) }

// tooLarge returns the error for a result that its type cannot hold.
func (f *Func) tooLarge() *Error {
	return &Error{f.offset, fmt.Sprintf("%s: the result does not fit into %s", f.Written, f.Result), "cast the argument to double"}
}
