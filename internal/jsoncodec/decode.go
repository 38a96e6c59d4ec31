package jsoncodec

import (
	"bytes"
	"math"
	"math/bits"
	"reflect"
	"strings"
	"unsafe"
)

// Decoder reads lines into values of one type. It learns the order of keys as it reads. It must not
// be shared by goroutines.
type Decoder struct {
	// Loose is set to check little of a line after the last field: that the root object ends at the
	// end of the line, and not before.
	Loose  bool
	root   *value
	isLine bool // the value is the unparsed line
	base   unsafe.Pointer
	end    int // of the line
	depth  int
	open   int // offset of the first object that closesOnce saw in an earlier line
	err    *Error
	texts  uint64 // bytes of texts, ORed in words; see Columns.IsASCII
	blocks [blocksAtOnce]block
}

// NewDecoder compiles type t. The error names the path of a field that cannot be read. The types
// string and json.RawMessage receive the unparsed line. Every other type receives the JSON value of
// the line.
func NewDecoder(t reflect.Type) (*Decoder, error) {
	root, err := compile(t, reading)
	if err != nil {
		return nil, err
	}
	return &Decoder{root: root, isLine: t == stringType || t == rawType}, nil
}

// Decode reads line into the value at dst. The value must have the decoder's type, and be zero or
// the result of the last Decode. Fields missing in the line become zero.
//
// The line excludes its line feed. The line feed must follow it in memory, and Padding readable
// bytes after that. Strings alias the line, so the line must never change. An error is an *Error.
// The value at dst is then incomplete, but may be used for the next line.
func (d *Decoder) Decode(line []byte, dst unsafe.Pointer) error {
	d.base, d.end, d.depth = unsafe.Pointer(unsafe.SliceData(line)), len(line), 0
	i := d.skipSpace(0)
	switch {
	case d.root.op == opStruct && at(d.base, i) == '{':
		d.depth = 1
		if i = d.readObject(d.root.obj, i+1, dst, true); i < 0 {
			d.root.obj.dirty = d.root.obj.all
		}
	case d.isLine:
		if at(d.base, i) == '{' && (d.Loose && d.closesOnce(i+1) || !d.Loose && d.isWhole(i, 0)) {
			i = d.end
		} else {
			i = d.skip(i)
		}
		if i >= 0 {
			*(*string)(dst) = unsafe.String(unsafe.SliceData(line), len(line))
			if d.root.op == opRaw {
				*(*[]byte)(dst) = line[:len(line):len(line)]
			}
		}
	default:
		i = d.readValue(d.root, i, dst)
	}
	if i < 0 || d.checkEnd(i) < 0 {
		return d.err
	}
	return nil
}

// checkEnd checks that only blanks follow the value that ends at i.
func (d *Decoder) checkEnd(i int) int {
	if i = d.skipSpace(i); i != d.end {
		return d.fail(i, "the end of the line")
	}
	return i
}

// skipSpace returns the position of the next byte from i that is not blank. The line feed after the
// line ends the search.
func (d *Decoder) skipSpace(i int) int {
	for c := at(d.base, i); c == ' ' || c == '\t' || c == '\r'; c = at(d.base, i) {
		i++
	}
	return i
}

// readObject reads the members of an object into the struct at dst. i is after the opening brace.
// Missing members become zero. It returns the end of the object, or -1. Once the root object has
// all fields, the rest of the line is checked as a whole; if d.Loose is set, only its braces.
func (d *Decoder) readObject(o *object, i int, dst unsafe.Pointer, root bool) int {
	p := d.base
	var seen uint64
	all, dirty := uint64(math.MaxUint64), o.all
	if root && !o.wide {
		all, dirty = o.all, o.dirty
	}
	var few [fewWords]uint64
	var many []uint64 // seen of a wide object
	if o.wide || o.embeds != nil {
		o.prepare(dst)
		many = o.noneSeen(few[:])
	}
	if i = d.skipSpace(i); at(p, i) == '}' {
		i++
		goto done
	}
	for k := &o.start; ; {
		next := k.next
		if (load(p, i)^next.w0)&next.m0|(load(p, i+8)^next.w1)&next.m1 != 0 ||
			len(next.token) > 16 && d.slice(i+16, min(i+len(next.token), d.end)) != next.token[16:] {
			var value int
			if next, value = d.lookup(o, k, i); value < 0 {
				return -1
			}
			i = value
		} else {
			i += len(next.token)
		}
		k = next
		c := at(p, i)
		if c <= ' ' {
			i = d.skipSpace(i)
			c = at(p, i)
		}

		op := k.op
		if k.bit&seen != 0 || many != nil && k.addSeen(many) {
			op = opSkip // the first value counts
		}
		switch op {
		case opSkip:
			if c == '"' {
				if i = plainEnd(p, i+1); at(p, i) == '"' {
					i++
				} else {
					i = d.skipString(i)
				}
			} else if _, end := readShort(p, i); end >= 0 {
				i = end
			} else {
				i = d.skip(i)
			}
		case opString:
			if c != '"' {
				i = d.readValue(k.val, i, unsafe.Add(dst, k.off))
				break
			}
			if end := plainEnd(p, i+1); at(p, end) == '"' {
				*(*string)(unsafe.Add(dst, k.off)) = d.slice(i+1, end)
				i = end + 1
			} else {
				*(*string)(unsafe.Add(dst, k.off)), i = d.readText(i + 1)
			}
		case opInt64:
			if n, end := readShort(p, i); end >= 0 {
				*(*int64)(unsafe.Add(dst, k.off)) = int64(n)
				i = end
			} else {
				i = d.readValue(k.val, i, unsafe.Add(dst, k.off))
			}
		case opDecimal:
			if n, places, end := readShortDecimal(p, i); end >= 0 && places <= int(k.scale) {
				*(*int64)(unsafe.Add(dst, k.off)) = int64(n * pow10[k.scale-uint8(places)])
				i = end
			} else {
				i = d.readValue(k.val, i, unsafe.Add(dst, k.off))
			}
		default:
			i = d.readValue(k.val, i, unsafe.Add(dst, k.off))
		}
		if i < 0 {
			d.err.Field = join(k.name, d.err.Field)
			return -1
		}

		seen |= k.bit
		if c = at(p, i); c <= ' ' {
			i = d.skipSpace(i)
			c = at(p, i)
		}
		if c != ',' {
			if c == '}' {
				i++
				break
			}
			return d.fail(i, "a comma or a closing brace")
		}
		if seen == all {
			if d.Loose && d.closesOnce(i) || !d.Loose && d.isWhole(i, 1) {
				i = d.end
			} else if i = d.skipMembers(i); i < 0 {
				return -1
			}
			break
		}
		if i++; at(p, i) <= ' ' {
			i = d.skipSpace(i)
		}
	}
done:
	if missing := dirty &^ seen; missing != 0 {
		for _, k := range o.keys {
			if k.bit&missing != 0 {
				k.val.zero(unsafe.Add(dst, k.off))
			}
		}
	}
	if root {
		o.dirty = seen
	}
	o.ever |= seen
	return i
}

// prepare sets those fields to zero that cannot wait until the missing fields are known.
func (o *object) prepare(dst unsafe.Pointer) {
	for _, off := range o.embeds {
		*(*unsafe.Pointer)(unsafe.Add(dst, off)) = nil
	}
	if o.wide {
		for _, k := range o.keys {
			k.val.zero(unsafe.Add(dst, k.off))
		}
	}
}

// fewWords holds the keys of most wide objects, one bit each.
const fewWords = 8

// noneSeen returns an empty set of the keys of a wide object, in the zero words of few if they are
// enough. It returns nil for other objects.
func (o *object) noneSeen(few []uint64) []uint64 {
	if !o.wide {
		return nil
	}
	words := (len(o.keys) + 63) / 64
	if words <= len(few) {
		return few[:words]
	}
	return make([]uint64, words)
}

// addSeen adds a key of a wide object to seen, and reports whether it was there before.
func (k *key) addSeen(seen []uint64) bool {
	if k.op == opSkip {
		return false
	}
	word, bit := &seen[k.number/64], uint64(1)<<(k.number%64)
	isRepeated := *word&bit != 0
	*word |= bit
	return isRepeated
}

// lookup finds the key at i after a wrong prediction, and predicts it after last for the next line.
// It also returns the start of the value.
func (d *Decoder) lookup(o *object, last *key, i int) (*key, int) {
	if at(d.base, i) != '"' {
		return nil, d.fail(i, "a key in quotes")
	}
	name, end := d.readText(i + 1)
	if end < 0 {
		return nil, -1
	}
	start := i
	if i = d.skipColon(end); i < 0 {
		return nil, -1
	}
	k := o.names[name]
	if k == nil {
		name = strings.Clone(name)
		k = o.key(name)
		if f := o.folded[fold(name)]; f != nil {
			k.bit, k.number, k.off, k.op, k.val, k.scale = f.bit, f.number, f.off, f.op, f.val, f.scale
		}
		if len(o.names) < len(o.keys)+maxLearned {
			o.names[name] = k
		}
	}
	// A name spelled with escapes is not compared as bytes: its token may contain a line feed.
	if end = start + len(k.token); end <= d.end && d.slice(start, end) == k.token {
		last.next = k
	}
	return k, i
}

// maxLearned is the maximum number of remembered keys per object beyond the fields of the struct.
const maxLearned = 256

// closesOnce reports whether the last byte of the line closes the root object and no byte before it
// does. i is the start or the end of a member. A false report calls for a check of the grammar:
// closesOnce counts braces, and gives up where braces in strings could hide a second record.
func (d *Decoder) closesOnce(i int) bool {
	rest := unsafe.Slice((*byte)(unsafe.Add(d.base, i)), d.end-i)
	for len(rest) > 0 && isBlank(rest[len(rest)-1]) {
		rest = rest[:len(rest)-1]
	}
	if len(rest) == 0 || rest[len(rest)-1] != '}' {
		return false
	}
	all, depth := rest, 1
	// The first object of a line often begins where the first one of the line before began.
	if n := d.open; n < len(rest) && rest[n] == '{' && rest[n-1] == ':' && braceFree(rest[:n]) {
		rest, depth = rest[n+1:], 2
	}
	for ; ; depth++ {
		open := bytes.IndexByte(rest, '{')
		if open < 0 {
			return bytes.Count(rest, closing) == depth
		}
		switch c := rest[max(open-1, 0)]; {
		case c == ':' || c == '[' || c == ' ' && open > 1 && rest[open-2] == ':':
		case c == ',' || c == ' ' && open > 1 && rest[open-2] == ',':
			return closesOnceInLists(all)
		default:
			return false // perhaps the next record
		}
		if depth -= bytes.Count(rest[:open], closing); depth <= 0 {
			return false
		}
		if len(rest) == len(all) {
			d.open = open
		}
		rest = rest[open+1:]
	}
}

// closesOnceInLists is closesOnce for a text with objects after commas. The next record could be
// after a comma too. So no opening brace may be in a string: only those can hide the root's end.
func closesOnceInLists(rest []byte) bool {
	if bytes.IndexByte(rest, '\\') >= 0 {
		return false
	}
	for depth, quotes := 1, 0; ; depth++ {
		open := bytes.IndexByte(rest, '{')
		if open < 0 {
			return bytes.Count(rest, closing) == depth
		}
		depth -= bytes.Count(rest[:open], closing)
		quotes += bytes.Count(rest[:open], quote)
		if depth <= 0 || quotes%2 != 0 {
			return false
		}
		rest = rest[open+1:]
	}
}

var closing, quote = []byte{'}'}, []byte{'"'}

// braceFree reports whether b has no braces. It may report false for other bytes from '{' on.
// Padding bytes must follow b.
func braceFree(b []byte) bool {
	p := unsafe.Pointer(unsafe.SliceData(b))
	for i := 0; i < len(b); i += 8 {
		if m := (load(p, i)&^high + (0x80-'{')*low) & high; m != 0 {
			return i+bits.TrailingZeros64(m)>>3 >= len(b)
		}
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
