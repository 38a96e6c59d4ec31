package codec

// skip returns the end of the value at i, checked against the grammar of JSON, or -1.
func (d *Decoder) skip(i int) int {
	switch c := at(d.base, i); c {
	case '"':
		return d.skipString(i + 1)
	case '{', '[':
		if !d.enter(i) {
			return -1
		}
		if i = d.space(i + 1); at(d.base, i) == c+2 { // the closing brace or bracket
			i++
		} else if c == '{' {
			i = d.members(d.member(i))
		} else {
			i = d.elements(i)
		}
		d.depth--
		return i
	case 't':
		return d.literal(i, "true")
	case 'f':
		return d.literal(i, "false")
	case 'n':
		return d.literal(i, "null")
	}
	if end := d.number(i); end >= 0 {
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

// members skips the rest of an object after a member that ends at i. A negative i is returned
// unchanged.
func (d *Decoder) members(i int) int {
	for i >= 0 {
		switch i = d.space(i); at(d.base, i) {
		case ',':
			i = d.member(d.space(i + 1))
		case '}':
			return i + 1
		default:
			return d.fail(i, "a comma or a closing brace")
		}
	}
	return i
}

// member skips a key and its value.
func (d *Decoder) member(i int) int {
	if at(d.base, i) != '"' {
		return d.fail(i, "a key in quotes")
	}
	if i = d.skipString(i + 1); i < 0 {
		return -1
	}
	if i = d.colon(i); i < 0 {
		return -1
	}
	return d.skip(i)
}

// colon returns the start of the value whose key ends at i, or -1.
func (d *Decoder) colon(i int) int {
	if i = d.space(i); at(d.base, i) != ':' {
		return d.fail(i, "a colon")
	}
	return d.space(i + 1)
}

// elements skips the rest of an array, from the element at i.
func (d *Decoder) elements(i int) int {
	for {
		if i = d.skip(i); i < 0 {
			return -1
		}
		var more bool
		if i, more = d.comma(i); !more {
			return i
		}
	}
}

// comma returns the start of the array element after the one that ends at i, and true. It returns
// the end of the array and false after the last element, or -1 and false.
func (d *Decoder) comma(i int) (int, bool) {
	switch i = d.space(i); at(d.base, i) {
	case ',':
		return d.space(i + 1), true
	case ']':
		return i + 1, false
	}
	return d.fail(i, "a comma or a closing bracket"), false
}

// literal returns the end of a JSON literal at i, or -1.
func (d *Decoder) literal(i int, word string) int {
	end := i + len(word)
	if end > d.end || d.slice(i, end) != word {
		return d.fail(i, word)
	}
	return end
}
