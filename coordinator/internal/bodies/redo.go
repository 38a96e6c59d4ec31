package bodies

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/state"
)

// redo is a log on disk of groups that Badger may lose in a power cut. A group is durable once it
// is in the log: one write to space that the file has already, and one sync. Badger itself needs
// two syncs for a transaction, of files that grow. It gets the groups later, many at a time, and
// unsynced.
//
// The log has two files of redoSize, written in turn. A file is written again once Badger holds all
// its groups and has been synced. Open passes the groups of both files to Badger again, in order.
// Badger may have some of them already: their operations are absolute, so only the last group
// matters.
//
//	"LSREDO1\n" 8 | number of the first group 8 | CRC32C of both 4 | records
//
// and a record is
//
//	length of the rest 4 | CRC32C of the rest 4 | number of the group 8 | operations
//
// and an operation is
//
//	length of the key | 0 to remove it, or 1 + length of the value | key | value
//
// A record behind the last one belongs to an earlier use of the file: its number does not follow. A
// record without operations is a barrier: Badger holds all groups before its number, synced. The
// group with its number, if any, is large, and went to Badger without the log.
type redo struct {
	dir    string
	noSync bool
	files  [2]*os.File // nil until needed
	active int         // index of the file being written
	at     int64       // end of its last record
	buf    []byte
}

const (
	redoMagic  = "LSREDO1\n"
	redoHeader = 8 + 8 + 4
	redoSize   = 4 << 20
	// maxLogged is the size of the largest group in the log, without its framing.
	maxLogged = 512 << 10
)

func (r *redo) path(i int) string { return filepath.Join(r.dir, fmt.Sprintf("redo-%d", i)) }

// start begins file i with the group n. It makes the file if necessary.
func (r *redo) start(i int, n uint64) error {
	header := binary.BigEndian.AppendUint64([]byte(redoMagic), n)
	header = binary.BigEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	if r.files[i] == nil {
		// zeros, as a file with holes would grow with each write
		content := append(header, make([]byte, redoSize-redoHeader)...)
		if err := state.Replace(r.path(i), content, 0o600); err != nil {
			return err
		}
		if err := r.open(i); err != nil {
			return err
		}
	} else if _, err := r.files[i].WriteAt(header, 0); err != nil {
		return fmt.Errorf("redo: %w", err)
	}
	r.active, r.at = i, redoHeader
	return nil
}

// open opens file i. Each write to it is durable at its end.
func (r *redo) open(i int) (err error) {
	flags := os.O_RDWR
	if !r.noSync {
		flags |= dsync
	}
	r.files[i], err = os.OpenFile(r.path(i), flags, 0)
	return err
}

// restart empties the log; n is the next group. Badger must hold all others, synced.
func (r *redo) restart(n uint64) error {
	i := 1 - r.active
	if r.files[i] == nil && r.files[r.active] == nil {
		return r.start(0, n)
	}
	if r.files[i] != nil {
		if err := r.start(i, n); err != nil {
			return err
		}
	}
	return r.start(1-i, n)
}

// close closes the files.
func (r *redo) close() error {
	var err error
	for i, f := range r.files {
		if f != nil {
			err = errors.Join(err, f.Close())
			r.files[i] = nil
		}
	}
	return err
}

// remove closes and removes the files.
func (r *redo) remove() error {
	err := r.close()
	for i := range r.files {
		if e := os.Remove(r.path(i)); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// fits reports whether the active file has room for a group.
func (r *redo) fits(g *group) bool { return r.at+g.logSize() <= redoSize }

// logSize is the limit of the size of a group's record.
func (g *group) logSize() int64 {
	return int64(16 + len(g.buf) + 2*binary.MaxVarintLen32*(len(g.pieces)+len(g.ops)))
}

// append adds a group to the active file; nil is a barrier.
func (r *redo) append(n uint64, g *group) error {
	b := binary.BigEndian.AppendUint64(append(r.buf[:0], 0, 0, 0, 0, 0, 0, 0, 0), n)
	if g != nil {
		for _, ops := range [][]op{g.pieces, g.ops} {
			for _, o := range ops {
				b = binary.AppendUvarint(b, uint64(o.key))
				b = binary.AppendUvarint(b, uint64(o.value+1))
				b = append(b, g.buf[o.start:o.start+o.key+max(o.value, 0)]...)
			}
		}
	}
	r.buf = b
	binary.BigEndian.PutUint32(b, uint32(len(b)-8))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	if _, err := r.files[r.active].WriteAt(b, r.at); err != nil {
		return fmt.Errorf("redo: %w", err)
	}
	r.at += int64(len(b))
	return nil
}

// logged is what the log has after a start.
type logged struct {
	exists bool
	// first is the number of the first group. Badger holds all groups before it.
	first uint64
	// last is the number of the last group; first-1 if there is none.
	last uint64
	// barrier means that the group after last may be in Badger alone.
	barrier bool
	groups  [][]byte // operations of the groups from first to last, without those before a barrier
}

// openRedo opens and reads the log in dir.
func openRedo(dir string, noSync bool) (r redo, found logged, err error) {
	r = redo{dir: dir, noSync: noSync}
	var content [2][]byte
	var first [2]uint64
	for i := range r.files {
		b, err := os.ReadFile(r.path(i))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = r.open(i)
		}
		if err != nil {
			return r, found, err
		}
		found.exists = true
		if len(b) < redoHeader || string(b[:8]) != redoMagic || crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
			return r, found, fmt.Errorf("the start of the file %s is damaged", filepath.Base(r.path(i)))
		}
		content[i], first[i] = b, binary.BigEndian.Uint64(b[8:])
	}
	older := 0
	if content[0] == nil || content[1] != nil && first[1] < first[0] {
		older = 1
	}
	for k, i := range [2]int{older, 1 - older} {
		if content[i] == nil {
			continue
		}
		switch next := found.last + 1; {
		case k == 0, found.barrier && first[i] == next+1:
			found.first, found.last, found.barrier = first[i], first[i]-1, false
		case first[i] != next:
			return r, found, fmt.Errorf("write %d is missing in the log", next)
		}
		r.active, r.at = i, redoHeader+found.read(content[i][redoHeader:])
	}
	return r, found, nil
}

// read adds the groups of a file, without its head, and returns the length of their records.
func (l *logged) read(b []byte) (size int64) {
	for {
		rest := b[size:]
		if len(rest) < 16 {
			return size
		}
		n := int64(binary.BigEndian.Uint32(rest))
		if n < 8 || n > int64(len(rest)-8) || crc32.Checksum(rest[8:8+n], castagnoli) != binary.BigEndian.Uint32(rest[4:]) {
			return size
		}
		group, ops := binary.BigEndian.Uint64(rest[8:]), rest[16:8+n]
		switch {
		case group != l.last+1 && !(l.barrier && group == l.last+2):
			return size
		case len(ops) == 0:
			l.last, l.barrier, l.groups = group-1, true, nil
			l.first = group
		default:
			if l.barrier && group == l.last+2 {
				l.first = group
			}
			l.last, l.barrier, l.groups = group, false, append(l.groups, ops)
		}
		size += 8 + n
	}
}

// decodeOps appends the operations of a record to g.
func (g *group) decodeOps(b []byte) error {
	for len(b) > 0 {
		key, k := binary.Uvarint(b)
		value, v := binary.Uvarint(b[max(k, 0):])
		size := key + max(value, 1) - 1
		if k <= 0 || v <= 0 || key > redoSize || value > redoSize || size > uint64(len(b)-k-v) {
			return fmt.Errorf("%w: an operation in the log", ErrDamaged)
		}
		g.ops = append(g.ops, op{start: len(g.buf), key: int(key), value: int(value) - 1})
		g.buf = append(g.buf, b[k+v:k+v+int(size)]...)
		b = b[k+v+int(size):]
	}
	g.ends = append(g.ends, len(g.ops))
	return nil
}
