package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/zeebo/xxh3"
)

// A frame is the content of one Badger transaction: events appended together. Its key and value
// are, with sizes in bytes:
//
//	key    'f' | generation 4 | first event 8 | part 4 | last event 8
//	value  CRC32C 4 | length 4 | flags 1 | hash of the previous frame 16 | events
//
// The numbers of the key are big endian, so that key order is event order. Each event follows its
// length as a uvarint. The checksum covers the key and the rest of the value.
//
// An event too long for a frame is divided into parts. If a frame starts within an event, its part
// is above zero. If it ends within an event, it has flagPart and contains no other event.
const (
	keySize    = 1 + 4 + 8 + 4 + 8
	headerSize = 4 + 4 + 1 + 16
	lengthSize = binary.MaxVarintLen32
	// frameLimit is the maximum size of a value, well below Badger's value threshold and
	// transaction limit.
	frameLimit = 512 << 10

	// flagMore means that the Append call continues in the next frame. Without the next frame, none
	// of the call's events count.
	flagMore = 1
	flagPart = 2 // the event continues in the next frame
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type hash [16]byte

// frame is one frame in memory: key and value in one buffer.
type frame struct {
	gen         uint32
	first, last uint64
	part        uint32
	buf         []byte
}

// begin empties f and sets it to start at position c.
func (f *frame) begin(gen uint32, c cursor) {
	*f = frame{gen: gen, first: c.next, last: c.next - 1, part: c.part, buf: append(f.buf[:0], make([]byte, keySize+headerSize)...)}
}

func (f *frame) add(event []byte) {
	f.buf = append(binary.AppendUvarint(f.buf, uint64(len(event))), event...)
	f.last++
}

// room returns the free bytes in f, for events and their lengths.
func (f *frame) room() int { return frameLimit - len(f.buf[keySize:]) }

// seal writes the key and the header, including the checksum.
func (f *frame) seal(flags byte, prev hash) {
	f.buf[0] = 'f'
	binary.BigEndian.PutUint32(f.buf[1:], f.gen)
	binary.BigEndian.PutUint64(f.buf[5:], f.first)
	binary.BigEndian.PutUint32(f.buf[13:], f.part)
	binary.BigEndian.PutUint64(f.buf[17:], f.last)
	v := f.value()
	binary.LittleEndian.PutUint32(v[4:], uint32(len(v)))
	v[8] = flags
	copy(v[9:], prev[:])
	binary.LittleEndian.PutUint32(v, f.sum())
}

func (f *frame) key() []byte   { return f.buf[:keySize:keySize] }
func (f *frame) value() []byte { return f.buf[keySize:] }
func (f *frame) flags() byte   { return f.buf[keySize+8] }
func (f *frame) prev() hash    { return hash(f.buf[keySize+9:]) }
func (f *frame) hash() hash    { return xxh3.Hash128(f.buf).Bytes() }
func (f *frame) sum() uint32 {
	return crc32.Update(crc32.Checksum(f.key(), castagnoli), castagnoli, f.value()[4:])
}

// readKey sets the fields encoded in the key.
func (f *frame) readKey(key []byte) error {
	if len(key) != keySize || key[0] != 'f' {
		return errors.New("unknown key in the database")
	}
	f.gen = binary.BigEndian.Uint32(key[1:])
	f.first = binary.BigEndian.Uint64(key[5:])
	f.part = binary.BigEndian.Uint32(key[13:])
	f.last = binary.BigEndian.Uint64(key[17:])
	return nil
}

// readValue copies key and value into f and verifies the checksum of both.
func (f *frame) readValue(key, value []byte) error {
	if len(value) < headerSize || uint32(len(value)) != binary.LittleEndian.Uint32(value[4:]) {
		return errors.New("the length does not match")
	}
	f.buf = append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	if f.sum() != binary.LittleEndian.Uint32(value) {
		return errors.New("the checksum does not match")
	}
	return nil
}

// events calls fn for each event of f, or for the part of an event in f. fn may keep ev.
func (f *frame) events(fn func(seq uint64, ev []byte) error) error {
	rest := f.buf[keySize+headerSize:]
	for seq := f.first; seq <= f.last; seq++ {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return errors.New("the lengths of the events do not match the frame")
		}
		end := size + int(n)
		if err := fn(seq, rest[size:end:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
	return nil
}
