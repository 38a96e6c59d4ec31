package jsoncodec

import (
	"math/bits"
	"unsafe"
)

// A block has a bit for each of 64 bytes. Bit 0 is the first byte.
//
// The rules of JSON become operations on these bits. For example, the bytes of strings are the
// prefix sums of the quotes, and a comma is in place if the byte before it ends a value:
//
//	,"a":["b", 12],"c":{}}
//	.1.1..1.1.............   quotes
//	.11..  .11......11....   bytes of strings, without the closing quotes
type block struct {
	quotes, slashes, controls, blanks uint64
	opens, closes                     uint64 // braces and brackets
	commas, colons                    uint64
	bit5                              uint64 // bit 5 of all bytes, which brackets lack
}

// blocksAtOnce is the number of blocks for one call of classify.
const blocksAtOnce = 8

// leastFast is the length from which isWhole is faster than a check byte by byte.
const leastFast = 24

// follow returns the bits of the next bytes that are no blanks, after the bits of x. carry comes
// from the block before, and then of this one.
func follow(x, blanks uint64, carry *uint64) uint64 {
	after := x<<1 | *carry
	*carry = x >> 63
	if blanks == 0 {
		return after
	}
	sum, over := bits.Add64(after&blanks, blanks, 0)
	*carry |= over
	return (after | sum) &^ blanks
}

// upTo returns for each bit whether an odd number of bits of x is at or below it.
func upTo(x uint64) uint64 {
	x ^= x << 1
	x ^= x << 2
	x ^= x << 4
	x ^= x << 8
	x ^= x << 16
	return x ^ x<<32
}

// isWhole reports that the rest of the line from i is well-formed: a comma and more members of an
// object that is open at depth 1, or at depth 0 an object. False is no proof: the text is short or
// deep, or the processor lacks an operation.
func (d *Decoder) isWhole(i, depth int) bool {
	n := d.end - i
	for n > 0 && isBlank(at(d.base, i+n-1)) {
		n--
	}
	if !hasClassify || n < leastFast || at(d.base, i+n-1) != '}' {
		return false
	}
	return isPlain(unsafe.Add(d.base, i), n, depth) || d.isRegular(i, n, depth)
}

// isRegular is isWhole for n bytes.
func (d *Decoder) isRegular(i, n, depth int) bool {
	var (
		inString, afterScalar, escaped       uint64 // of the first byte of a block
		afterValue, afterOpen, afterKey      uint64 // carries of follow
		afterSeparator, keyCarry, stack, bad uint64
	)
	afterValue = uint64(depth)
	for n > 0 {
		count := min((n+63)/64, blocksAtOnce)
		classify(unsafe.Add(d.base, i), count, &d.blocks)
		for k := range count {
			m := &d.blocks[k]
			valid := ^uint64(0)
			if n < 64 {
				valid >>= 64 - n
			}
			quotes := m.quotes & valid
			if slashes := m.slashes & valid; slashes|escaped != 0 {
				if quotes, escaped = d.unescape(i, quotes, slashes, escaped); escaped > 1 {
					return false
				}
			}
			str := upTo(quotes) ^ inString
			inString = uint64(int64(str) >> 63)
			starts, ends := quotes&str, quotes&^str
			outside := valid &^ (str | ends)
			commas, colons, blanks := m.commas&outside, m.colons&outside, m.blanks&outside
			opens, closes := m.opens&outside, m.closes&outside
			scalars := outside &^ (commas | colons | blanks | opens | closes)
			bad = m.controls & str
			if tabs := m.controls & outside; tabs != 0 {
				blanks, scalars = blanks|tabs, scalars&^tabs
				for ; tabs != 0; tabs &= tabs - 1 {
					if !isBlank(at(d.base, i+bits.TrailingZeros64(tabs))) {
						return false
					}
				}
			}

			// stack has a bit for each level, which is set in an array
			array := -(stack & 1)
			for all := opens | closes; all != 0; all &= all - 1 {
				bit := all & -all
				kind := uint64(1)
				if m.bit5&bit != 0 {
					kind = 0
				}
				if opens&bit != 0 {
					depth, stack = depth+1, stack<<1|kind
				} else if depth, stack, bad = depth-1, stack>>1, bad|(stack&1^kind); depth == 0 && (n > 64 || bit != 1<<(n-1)) {
					return false
				}
				array = array&(bit-1) | -(stack&1)&-bit
			}
			if depth < 0 || depth > 60 {
				return false
			}

			// what follows a value is a comma, a colon or a closing bracket, and nothing else
			first := scalars &^ (scalars<<1 | afterScalar)
			afterScalar = scalars >> 63
			next := follow(ends|closes|scalars, blanks, &afterValue) &^ (scalars &^ first)
			empty := closes & follow(opens, blanks, &afterOpen)
			bad |= next&(starts|opens|first) | (commas|colons|closes)&^(next|empty)

			// keys are the strings after a brace or a comma, and a colon follows each
			keys := follow(opens&m.bit5|commas&^array, blanks, &afterSeparator)
			bad |= keys & valid &^ (starts | empty)
			keys, keyCarry = bits.Add64(keys&starts, str, keyCarry)
			bad |= follow(keys&ends, blanks, &afterKey)&valid ^ colons

			for ; first != 0; first &= first - 1 {
				if !d.isScalar(i + bits.TrailingZeros64(first)) {
					return false
				}
			}
			if bad != 0 {
				return false
			}
			i += 64
			n -= 64
		}
	}
	return depth == 0 && inString == 0
}

// unescape removes the escaped quotes of a block at i from quotes. next is 1 if the first byte of
// the next block is escaped, and greater if an escape sequence is malformed.
func (d *Decoder) unescape(i int, quotes, slashes, first uint64) (left, next uint64) {
	slashes &^= first
	quotes &^= first
	for slashes != 0 {
		n := bits.TrailingZeros64(slashes)
		switch at(d.base, i+n+1) {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if d.readHex4(i+n) < 0 {
				return 0, 2
			}
		default:
			return 0, 2
		}
		if n == 63 {
			next = 1
		}
		slashes &^= 3 << n
		quotes &^= 2 << n
	}
	return quotes, next
}

// isScalar reports whether the text at i is a number, true, false or null.
func (d *Decoder) isScalar(i int) bool {
	if _, end := readShort(d.base, i); end >= 0 {
		return true
	}
	end := i + 4
	switch at(d.base, i) {
	case 't':
		if d.slice(i, end) != "true" {
			return false
		}
	case 'f':
		if end++; d.slice(i, end) != "false" {
			return false
		}
	case 'n':
		if d.slice(i, end) != "null" {
			return false
		}
	default:
		end = d.skipNumber(i)
	}
	return end >= 0 && (at(d.base, end) == ' ' || at(d.base, end) == ',' || at(d.base, end)|0x20 == '}')
}
