package jsoncodec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
)

// randomColumn returns a column of any kind.
func randomColumn(r *rand.Rand, name string, depth int) *Column {
	c := &Column{Name: name, Kind: ColumnKind(r.IntN(8))}
	if depth == 0 {
		c.Kind = ColumnKind(r.IntN(5))
	}
	switch c.Kind {
	case Ints:
		c.Scale = uint8(r.IntN(3))
	case Lists:
		c.Elem = randomColumn(r, "", depth-1)
	case Maps:
		c.Elem = &Column{Kind: Objects, Fields: []*Column{{Kind: Texts}, randomColumn(r, "", depth-1)}}
	case Objects:
		for i := range r.IntN(4) {
			c.Fields = append(c.Fields, randomColumn(r, fmt.Sprintf("f%d", i), depth-1))
		}
	}
	return c
}

// randomValue appends a value for a column, and returns it as show does.
func randomValue(r *rand.Rand, b *bytes.Buffer, c *Column) string {
	space := func() { b.WriteString([]string{"", "", " ", "\t"}[r.IntN(4)]) }
	if r.IntN(6) == 0 {
		b.WriteString("null")
		return "NULL"
	}
	switch c.Kind {
	case Bools:
		s := []string{"true", "false"}[r.IntN(2)]
		b.WriteString(s)
		return s
	case Ints:
		n := r.Int64N(1e6) - 5e5
		if r.IntN(8) == 0 {
			n *= 1e12
		}
		switch {
		case c.Scale == 0 && r.IntN(4) == 0:
			fmt.Fprintf(b, "%d.0", n)
		case c.Scale == 0:
			fmt.Fprintf(b, "%d", n)
		default:
			fmt.Fprintf(b, "%de-%d", n, c.Scale)
		}
		return fmt.Sprint(n)
	case Floats:
		f := float64(r.IntN(1e6)) / 1024
		fmt.Fprint(b, f)
		return fmt.Sprint(f)
	case Texts:
		switch s := []string{"", "a", "a\"b\\\n", "ünïcode", strings.Repeat("long", 20), "7", "[1]"}[r.IntN(7)]; s {
		case "7", "[1]":
			b.WriteString(s)
			return s
		default:
			text, _ := json.Marshal(s)
			b.Write(text)
			return s
		}
	case Raws:
		s := []string{`"x"`, "1.50", `{"a": [1,"}"]}`, "true"}[r.IntN(4)]
		b.WriteString(s)
		return s
	case Lists:
		var all []string
		b.WriteByte('[')
		for i := range r.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			all = append(all, randomValue(r, b, c.Elem))
			space()
		}
		b.WriteByte(']')
		return "[" + strings.Join(all, ",") + "]"
	case Maps:
		var all []string
		b.WriteByte('{')
		for i := range r.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, `"k%d":`, i)
			space()
			all = append(all, fmt.Sprintf("(k%d,%s)", i, randomValue(r, b, c.Elem.Fields[1])))
		}
		b.WriteByte('}')
		return "[" + strings.Join(all, ",") + "]"
	}
	return randomObject(r, b, c)
}

// randomObject appends an object with the keys of a column in any order; some are missing, some
// occur twice, and some have no column.
func randomObject(r *rand.Rand, b *bytes.Buffer, c *Column) string {
	values := make([]string, len(c.Fields))
	var keys []int
	for i := range values {
		values[i] = "NULL"
		for range []int{0, 1, 1, 1, 1, 2}[r.IntN(6)] {
			keys = append(keys, i)
		}
	}
	for range r.IntN(3) {
		keys = append(keys, -1)
	}
	if r.IntN(2) == 0 {
		sort.Ints(keys)
	} else {
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	b.WriteByte('{')
	for n, i := range keys {
		if n > 0 {
			b.WriteByte(',')
		}
		if i < 0 {
			fmt.Fprintf(b, `"F%d":{"x":"]"}`, r.IntN(3))
			continue
		}
		fmt.Fprintf(b, "%q:", c.Fields[i].Name)
		if v := randomValue(r, b, c.Fields[i]); slices.Index(keys, i) == n {
			values[i] = v // the first one counts
		}
	}
	b.WriteByte('}')
	return "(" + strings.Join(values, ",") + ")"
}

// show returns the value of a row.
func show(c *Column, row int) string {
	if c.Nulls != nil && c.Nulls[row] {
		return "NULL"
	}
	switch c.Kind {
	case Bools:
		return fmt.Sprint(c.Bools[row])
	case Ints:
		return fmt.Sprint(c.Ints[row])
	case Floats:
		return fmt.Sprint(c.Floats[row])
	case Texts, Raws:
		return c.Strings[row]
	case Lists, Maps:
		var all []string
		for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
			all = append(all, show(c.Elem, int(e)))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	var all []string
	for _, f := range c.Fields {
		all = append(all, show(f, row))
	}
	return "(" + strings.Join(all, ",") + ")"
}

// Columns of any shape receive what was written, in batches between which the memory is reused,
// also when malformed lines are in between.
func TestColumns(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		root := &Column{Kind: Objects}
		n := r.IntN(6)
		if seed%10 == 0 {
			n = 60 + r.IntN(20) // more than the bits of a word
		}
		for i := range n {
			root.Fields = append(root.Fields, randomColumn(r, fmt.Sprintf("a longer name f%d", i)[r.IntN(15):], 3))
		}
		names := map[string]bool{}
		for i, f := range root.Fields {
			if names[f.Name] {
				f.Name = fmt.Sprintf("g%d", i)
			}
			names[f.Name] = true
		}
		const rows = 20
		cols := NewColumns(root, rows)
		for range 3 {
			var want []string
			for len(want) < rows {
				var b bytes.Buffer
				value := randomObject(r, &b, root)
				if n > 0 && hasLateKeys(b.Bytes(), root) {
					continue
				}
				line := b.Bytes()
				isBad := r.IntN(5) == 0
				if isBad {
					line = line[:len(line)-1]
				}
				size := len(line)
				line = append(append(line, '\n'), make([]byte, Padding)...)[:size]
				err := cols.Decode(line, len(want))
				if (err != nil) != isBad {
					t.Fatalf("seed %d: %s: %v", seed, line, err)
				}
				if err == nil {
					want = append(want, value)
				}
			}
			for i := range want {
				if got := show(root, i); got != want[i] {
					t.Fatalf("seed %d: row %d is\n%s\nwant\n%s", seed, i, got, want[i])
				}
			}
			cols.Reset()
		}
	}
}

// hasLateKeys reports whether a key with a column occurs again after all columns have a value: the
// decoder does not read it.
func hasLateKeys(line []byte, root *Column) bool {
	seen := map[string]bool{}
	known := map[string]bool{}
	for _, f := range root.Fields {
		known[f.Name] = true
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.Token()
	for dec.More() {
		key, _ := dec.Token()
		var skip json.RawMessage
		if dec.Decode(&skip) != nil {
			return true
		}
		if name := key.(string); known[name] {
			if len(seen) == len(known) {
				return true
			}
			seen[name] = true
		}
	}
	return false
}

// IsASCII is false as soon as a text that was stored has another byte, and not for other texts.
func TestColumnsIsASCII(t *testing.T) {
	for line, want := range map[string]bool{
		`{"a":"plain text of many bytes","b":"ü"}`:         true,
		`{"a":"","x":"ü"}`:                                 true,
		`{"a":"seven 7","x":1}`:                            true,
		`{"a":"eight ü8","x":1}`:                           false,
		`{"a":"0123456789abcdefü"}`:                        false,
		`{"a":"\u00fc"}`:                                   false,
		"{\"a\":\"\xff\"}":                                 false,
		`{"a":12}`:                                         true,
		`{"a":["ü"]}`:                                      false,
		`{"a":null,"l":["a","b"]}`:                         true,
		`{"a":null,"l":["a","bü"]}`:                        false,
		`{"m":{"k":"v"}}`:                                  true,
		`{"m":{"ü":"v"}}`:                                  false,
		`{"m":{"k":"ü"}}`:                                  false,
		`{"r":{"k":"ü"}}`:                                  false,
		`{"r":1}`:                                          true,
		`{"o":{"t":"a text of an object"},"a":"also"}`:     true,
		`{"o":{"t":"a text of an object, ü"},"a":"a ü"}`:   false,
		`{"a":"before a line feed","o":{"t":"\n"},"r":[]}`: false,
	} {
		text := func(name string) *Column { return &Column{Name: name, Kind: Texts} }
		root := &Column{Kind: Objects, Fields: []*Column{text("a"),
			{Name: "l", Kind: Lists, Elem: text("")},
			{Name: "m", Kind: Maps, Elem: &Column{Kind: Objects, Fields: []*Column{text("key"), text("value")}}},
			{Name: "r", Kind: Raws},
			{Name: "o", Kind: Objects, Fields: []*Column{text("t")}},
		}}
		c := NewColumns(root, 2)
		padded := append([]byte(line+"\n"), make([]byte, Padding)...)[:len(line)]
		if err := c.Decode(padded, 0); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := c.IsASCII(); got != want {
			t.Errorf("%s: IsASCII is %v", line, got)
		}
		if c.Reset(); !c.IsASCII() {
			t.Errorf("%s: not ASCII after Reset", line)
		}
	}
}
