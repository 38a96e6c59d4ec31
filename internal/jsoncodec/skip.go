package jsoncodec

// skip returns the end of the value at i, checked against the grammar of JSON, or -1.
func (d *Decoder) skip(i int) int {
	switch c := at(d.base, i); c {
	case '"':
		return d.skipString(i + 1)
	case '{', '[':
		if !d.enter(i) {
			return -1
		}
		if i = d.skipSpace(i + 1); at(d.base, i) == c+2 { // the closing brace or bracket
			i++
		} else if c == '{' {
			if next := d.skipCompact(i); next != i { // negative after an error
				i = d.skipMembers(next)
			} else {
				i = d.skipMembers(d.skipMember(i))
			}
		} else {
			i = d.skipElements(i)
		}
		d.depth--
		return i
	case 't':
		return d.skipLiteral(i, "true")
	case 'f':
		return d.skipLiteral(i, "false")
	case 'n':
		return d.skipLiteral(i, "null")
	}
	if end := d.skipNumber(i); end >= 0 {
		return end
	}
	return d.fail(i, "a value")
}

// enter counts one level of nesting at i. It reports whether this level is allowed.
func (d *Decoder) enter(i int) bool {
	if d.depth++; d.depth > maxDepth {
		d.fail(i, "at most 10000 levels of nesting")
		return false
	}
	return true
}

// skipMembers skips the rest of an object after a member that ends at i. A negative i is returned
// unchanged.
func (d *Decoder) skipMembers(i int) int {
	for i >= 0 {
		switch i = d.skipSpace(i); at(d.base, i) {
		case ',':
			start := d.skipSpace(i + 1)
			if i = d.skipCompact(start); i == start {
				i = d.skipMember(start)
			}
		case '}':
			return i + 1
		default:
			return d.fail(i, "a comma or a closing brace")
		}
	}
	return i
}

// skipCompact skips members from i, as most writers put them: keys without escapes, no blanks
// around the colon and the comma. It returns the end of the last one, or i if the first one needs
// the other functions of this file, or -1. It makes checks fast on processors without isWhole.
func (d *Decoder) skipCompact(i int) int {
	p, done := d.base, i
	for at(p, i) == '"' {
		end := plainEnd(p, i+1)
		if at(p, end) != '"' || at(p, end+1) != ':' {
			break
		}
		i = end + 2
		if at(p, i) == '"' {
			if end = plainEnd(p, i+1); at(p, end) == '"' {
				i = end + 1
			} else if i = d.skipString(end); i < 0 {
				return -1
			}
		} else if _, end := readShort(p, i); end >= 0 {
			i = end
		} else if at(p, i) <= ' ' {
			break
		} else if i = d.skip(i); i < 0 {
			return -1
		}
		if done = i; at(p, i) != ',' {
			break
		}
		i++
	}
	return done
}

// skipMember skips a key and its value.
func (d *Decoder) skipMember(i int) int {
	if at(d.base, i) != '"' {
		return d.fail(i, "a key in quotes")
	}
	if i = d.skipString(i + 1); i < 0 {
		return -1
	}
	if i = d.skipColon(i); i < 0 {
		return -1
	}
	return d.skip(i)
}

// skipColon returns the start of the value whose key ends at i, or -1.
func (d *Decoder) skipColon(i int) int {
	if i = d.skipSpace(i); at(d.base, i) != ':' {
		return d.fail(i, "a colon")
	}
	return d.skipSpace(i + 1)
}

// skipElements skips the rest of an array, from the element at i.
func (d *Decoder) skipElements(i int) int {
	for {
		if i = d.skip(i); i < 0 {
			return -1
		}
		var more bool
		if i, more = d.skipComma(i); !more {
			return i
		}
	}
}

// skipComma returns the start of the array element after the one that ends at i, and true. It
// returns the end of the array and false after the last element, or -1 and false.
func (d *Decoder) skipComma(i int) (int, bool) {
	switch i = d.skipSpace(i); at(d.base, i) {
	case ',':
		return d.skipSpace(i + 1), true
	case ']':
		return i + 1, false
	}
	return d.fail(i, "a comma or a closing bracket"), false
}

// skipLiteral returns the end of a JSON literal at i, or -1.
func (d *Decoder) skipLiteral(i int, word string) int {
	end := i + len(word)
	if end > d.end || d.slice(i, end) != word {
		return d.fail(i, word)
	}
	return end
}
