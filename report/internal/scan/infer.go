package scan

import (
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// A shape collects what a sample shows of the values of one column.
type shape struct {
	nulls, bools, ints, decimals, floats, huge, dates, stamps, zoned, times, texts int
	specials                                                                       int // nan and infinity, which are numbers only beside others
	// before and after are the most digits before and after the point of a number.
	before, after int

	values  uniqueness
	lists   int
	elem    *shape
	objects int
	fields  []*member
	index   map[string]*member
	keys    int // of all objects
	next    int // the field that is expected next
}

// member is a key of the objects of a shape.
type member struct {
	name  string
	shape shape
}

// maxKeys limits the keys of one shape. Objects with more are maps.
const maxKeys = 20_000

// field returns the shape of a key. It is nil past the limit of keys.
func (s *shape) field(name string) *shape {
	if s.next < len(s.fields) && s.fields[s.next].name == name {
		s.next++
		return &s.fields[s.next-1].shape
	}
	m := s.index[name]
	if m == nil {
		if len(s.fields) >= maxKeys {
			return nil
		}
		if s.index == nil {
			s.index = map[string]*member{}
		}
		m = &member{name: strings.Clone(name)}
		s.fields, s.index[m.name] = append(s.fields, m), m
		s.next = len(s.fields)
	}
	return &m.shape
}

// add adds a value of text, which is not NULL.
func (s *shape) add(text string) {
	s.values.add(text)
	switch c := classify(text); c.class {
	case isBool:
		s.bools++
	case isInt:
		s.ints++
		s.before = max(s.before, c.before)
	case isHuge:
		s.huge++
		s.before = max(s.before, c.before)
	case isDecimal:
		s.decimals++
		s.before, s.after = max(s.before, c.before), max(s.after, c.after)
	case isFloat:
		s.floats++
	case isSpecial:
		s.specials++
	case isDate:
		s.dates++
	case isStamp:
		s.stamps++
	case isZoned:
		s.zoned++
	case isTime:
		s.times++
	default:
		s.texts++
	}
}

// addString is add for a text that is in quotes: it can be no number.
func (s *shape) addString(text string) {
	s.values.add(text)
	if len(text) >= 8 && len(text) <= 40 && text[0]-'0' <= 9 {
		switch c := classify(text); c.class {
		case isDate:
			s.dates++
			return
		case isStamp:
			s.stamps++
			return
		case isZoned:
			s.zoned++
			return
		case isTime:
			s.times++
			return
		}
	}
	s.texts++
}

// merge adds what another shape shows.
func (s *shape) merge(t *shape) {
	for _, n := range []struct{ to, from *int }{{&s.nulls, &t.nulls}, {&s.bools, &t.bools}, {&s.ints, &t.ints}, {&s.decimals, &t.decimals},
		{&s.floats, &t.floats}, {&s.huge, &t.huge}, {&s.dates, &t.dates}, {&s.stamps, &t.stamps}, {&s.zoned, &t.zoned}, {&s.times, &t.times},
		{&s.texts, &t.texts}, {&s.specials, &t.specials}, {&s.lists, &t.lists}, {&s.objects, &t.objects}, {&s.keys, &t.keys}} {
		*n.to += *n.from
	}
	s.before, s.after = max(s.before, t.before), max(s.after, t.after)
	s.values.merge(&t.values)
	if t.elem != nil {
		if s.elem == nil {
			s.elem = &shape{}
		}
		s.elem.merge(t.elem)
	}
	for _, m := range t.fields {
		if f := s.field(m.name); f != nil {
			f.merge(&m.shape)
		}
	}
}

// maxScale is the most digits after the point of a number that is read as a decimal. A column with
// more is one of measurements.
const maxScale = 6

// typeOf returns the narrowest type that holds all values. empty is the type of a column without
// values. In JSON, numbers of more than 64 bits are exact too; in other text they stay text,
// because they name things.
func (s *shape) typeOf(json bool) vec.Type {
	numbers := s.ints + s.decimals + s.floats + s.huge
	words := s.bools + s.texts + s.dates + s.stamps + s.zoned + s.times
	if numbers == 0 {
		words += s.specials
	}
	text := vec.Of(vec.Text)
	switch {
	case numbers+words+s.lists+s.objects == 0:
		if json {
			return vec.Of(vec.JSON)
		}
		return text
	case s.objects > 0 && numbers+words+s.lists == 0:
		return s.objectType(json)
	case s.lists > 0 && numbers+words+s.objects == 0:
		elem := vec.Of(vec.JSON)
		if s.elem != nil {
			elem = s.elem.typeOf(json)
		}
		return vec.ListOf(elem)
	case s.objects+s.lists > 0:
		return vec.Of(vec.JSON)
	case numbers > 0 && words > 0:
		return text
	case numbers > 0:
		return s.numberType(json)
	case s.bools == words:
		return vec.Of(vec.Bool)
	case s.times == words:
		return vec.Of(vec.Time)
	case s.dates == words:
		return vec.Of(vec.Date)
	case s.dates+s.stamps == words:
		return vec.Of(vec.Timestamp)
	case s.dates+s.stamps+s.zoned == words:
		return vec.Of(vec.TimestampTZ)
	}
	return text
}

func (s *shape) numberType(json bool) vec.Type {
	double := vec.Of(vec.Float)
	switch {
	case s.huge > 0 && !json:
		return vec.Of(vec.Text)
	case s.floats+s.specials > 0:
		return double
	case s.huge > 0 && s.decimals == 0 && s.before <= vec.MaxPrecision:
		return vec.HugeInt
	case s.huge > 0:
		return double
	case s.decimals == 0:
		return vec.Of(vec.Int)
	case s.after <= maxScale && s.before+s.after <= 18:
		return vec.DecimalOf(18, s.after)
	}
	return double
}

// objectType returns a struct, or a map if the keys of the objects vary much and their values have
// one type.
func (s *shape) objectType(json bool) vec.Type {
	n := len(s.fields)
	if n > 12 && s.keys*4 < n*s.objects || n >= 200 && s.keys*2 < n*s.objects || n >= maxKeys {
		var all shape
		for _, m := range s.fields {
			all.merge(&m.shape)
		}
		value := all.typeOf(json)
		if value.Kind != vec.JSON || all.objects+all.lists == 0 || n >= 200 {
			return vec.MapOf(vec.Of(vec.Text), value)
		}
	}
	if n == 0 {
		return vec.MapOf(vec.Of(vec.Text), vec.Of(vec.JSON))
	}
	return vec.Type{Kind: vec.Struct, Fields: s.columns(json)}
}

// columns returns the fields of the objects, in the order of their first occurrence.
func (s *shape) columns(json bool) []vec.Field {
	var fields []vec.Field
	for _, m := range s.fields {
		fields = append(fields, vec.Field{Name: m.name, Type: m.shape.typeOf(json)})
	}
	return fields
}

// class is what a text may be.
type class uint8

const (
	isText class = iota
	isBool
	isInt
	isHuge // an integer of more than 64 bits
	isDecimal
	isFloat
	isSpecial
	isDate
	isStamp
	isZoned
	isTime
)

// classified is a class, and the digits of a number before and after its point.
type classified struct {
	class         class
	before, after int
}

// classify returns the narrowest class of a text. A number with leading zeros, with a plus sign or
// with blanks is text.
func classify(s string) classified {
	if s == "" || len(s) > 64 {
		return classified{}
	}
	i := 0
	if s[0] == '-' {
		i = 1
	}
	start := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	before := i - start
	if before == 0 && (i >= len(s) || s[i] != '.') {
		return classified{class: classifyWord(s)}
	}
	if i == len(s) {
		switch {
		case before > 1 && s[start] == '0':
			return classified{}
		case before > 19 || before == 19 && !fits64(s):
			return classified{isHuge, before, 0}
		}
		return classified{isInt, before, 0}
	}
	if start == 0 && before <= 4 && (s[i] == '-' || s[i] == ':') {
		return classified{class: classifyTime(s)}
	}
	if before > 1 && s[start] == '0' {
		return classified{}
	}
	if s[start] == '0' {
		before = 0
	}
	after := 0
	if s[i] == '.' {
		from := i + 1
		for i = from; i < len(s) && s[i]-'0' <= 9; i++ {
		}
		if after = i - from; after == 0 {
			return classified{}
		}
	}
	if i == len(s) {
		return classified{isDecimal, before, after}
	}
	if s[i]|0x20 != 'e' || !isExponent(s[i+1:]) {
		return classified{}
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return classified{} // 1e1000 is no float
	}
	return classified{class: isFloat}
}

func isExponent(s string) bool {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return s != "" && len(s) <= 4
}

func classifyWord(s string) class {
	switch len(s) {
	case 3, 4, 5, 8, 9:
		switch strings.TrimPrefix(strings.ToLower(s), "-") {
		case "true", "false":
			return isBool
		case "nan", "inf", "infinity":
			return isSpecial
		}
	}
	return isText
}

func classifyTime(s string) class {
	if _, ok := parseDate(s); ok {
		return isDate
	}
	if _, zoned, ok := parseTimestamp(s); ok && zoned {
		return isZoned
	} else if ok {
		return isStamp
	}
	if _, ok := parseTime(s); ok {
		return isTime
	}
	return isText
}
