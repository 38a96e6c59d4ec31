package jsoncodec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

func TestErrors(t *testing.T) {
	type price struct {
		Price int64    `json:"price" decimal:"2"`
		Stock int8     `json:"stock"`
		Tags  []string `json:"tags"`
		Sub   struct {
			M map[string][]bool `json:"m"`
		} `json:"sub"`
		F     float64 `json:"f"`
		At    colour  `json:"at"`
		Bytes []byte  `json:"bytes"`
		Never int     `json:"never"`
	}
	for line, want := range map[string]string{
		`{"price":"12.5"}`:             `offset 9: field price: expected a number with at most 2 decimals that fits int64, found string "12.5"`,
		`{"stock":300}`:                "offset 9: field stock: expected an integer that fits int8, found 300",
		`{"stock":1.5}`:                "offset 9: field stock: expected an integer that fits int8, found 1.5",
		`{"stock":true}`:               "offset 9: field stock: expected an integer that fits int8, found true",
		`{"stock":nul}`:                "offset 9: field stock: expected an integer that fits int8, found nul",
		`{"stock":}`:                   `offset 9: field stock: expected an integer that fits int8, found "}"`,
		`{"stock":`:                    "offset 9: field stock: expected an integer that fits int8, found the end of the line",
		`{"stock":1`:                   "offset 10: expected a comma or a closing brace, found the end of the line",
		`{"stock":1 "f":2}`:            `offset 11: expected a comma or a closing brace, found string "f"`,
		`{"stock":1,}`:                 `offset 11: expected a key in quotes, found "}"`,
		`{"stock" 1}`:                  "offset 9: expected a colon, found 1",
		`{stock:1}`:                    "offset 1: expected a key in quotes, found stock",
		`{"stock":1}}`:                 `offset 11: expected the end of the line, found "}"`,
		`{"tags":["a","b`:              "offset 15: field tags[1]: expected the end of the string, found the end of the line",
		`{"tags":["a",7]}`:             "offset 13: field tags[1]: expected a string, found 7",
		`{"tags":["a" "b"]}`:           `offset 13: field tags: expected a comma or a closing bracket, found string "b"`,
		`{"tags":{}}`:                  "offset 8: field tags: expected an array, found an object",
		`{"tags":["\q"]}`:              `offset 10: field tags[0]: expected an escape sequence, found "\\"`,
		"{\"tags\":[\"a\tb\"]}":        `offset 11: field tags[0]: expected no control character in a string, found "\t"`,
		`{"sub":{"m":{"k":[true,5]}}}`: "offset 23: field sub.m.k[1]: expected true or false, found 5",
		`{"sub":[]}`:                   "offset 7: field sub: expected an object, found an array",
		`{"f":1e999}`:                  "offset 5: field f: expected a number that fits float64, found 1e999",
		`{"f":1.}`:                     "offset 5: field f: expected a number, found 1.",
		`{"bytes":"*"}`:                `offset 9: field bytes: expected a string in base64, found string "*"`,
		`{"at":5}`:                     "offset 6: field at: expected a string, found 5",
		`{"other":01}`:                 "offset 10: expected a comma or a closing brace, found 1",
		`{"other":[1,{"a":2]}`:         "offset 18: field other: expected a comma or a closing brace, found \"]\"",
		``:                             "offset 0: expected an object, found the end of the line",
		`[]`:                           "offset 0: expected an object, found an array",
		"\xef\xbb\xbf{}":               `offset 0: expected an object, found "\xef"`,
	} {
		_, err := decode[price](t, line)
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", line, err, want)
		}
	}
}

type picky string

func (p *picky) UnmarshalJSON(b []byte) error {
	if *p != "" {
		return errors.New("not zero before")
	}
	if *p = picky(b); *p == "5" {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func TestMethodErrorsAreKept(t *testing.T) {
	type S struct {
		P []picky `json:"p"`
	}
	_, err := decode[S](t, `{"p":[4,5]}`)
	if want := "offset 8: field p[1]: expected a value that its type takes, found 5: unexpected EOF"; err == nil || err.Error() != want || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want %s", err, want)
	}
	type One struct {
		P picky `json:"p"`
	}
	if got, err := decode[One](t, `{"p":{"a":1}}`, `{"p":1}`); err != nil || got.P != `{"a":1}` {
		t.Errorf("%v, %v", got, err)
	}
}

// TestCutLines cuts lines short everywhere, which is an error whatever is asked for.
func TestCutLines(t *testing.T) {
	line := `{"id":1,"s":"x","i":5,"attributes":{"a":{"b":"c"},"d":["e",{}]},"updated_at":"now"}`
	for n := range len(line) {
		if refuses[wantedS](t, line[:n]) == nil {
			t.Errorf("no error for %s", line[:n])
		}
		if refuses[string](t, line[:n]) == nil {
			t.Errorf("no error for the bare line %s", line[:n])
		}
		if refuses[struct{}](t, line[:n]) == nil {
			t.Errorf("no error for the uninteresting line %s", line[:n])
		}
	}
	for _, rest := range []string{`,"x":"}"}`, `,"x":"{"}`, `,"x":"{}}{"} `, "}\r", `,"x":{"y":{}}}`, ` , "x" : [ {"y":1} , {"y":"}{"} ] } `} {
		if err := refuses[wantedS](t, `{"i":5,"s":"x"`+rest); err != nil {
			t.Errorf("%s: %v", rest, err)
		}
	}
	for _, rest := range []string{`,"x":"}"`, `,"x":{}`, `,"x":{"y":{}}`, `}}`, `,"x":{{}`, ``, `]`, `} x`, `,"x":"{}}`, "}\x00", ` "x":1}`} {
		if refuses[wantedS](t, `{"i":5,"s":"x"`+rest) == nil {
			t.Errorf("no error for the rest %s", rest)
		}
	}
}

// TestWhatFollowsTheLastField checks that no line is read whose root object ends before the line,
// or whose last wanted value does not end there.
func TestWhatFollowsTheLastField(t *testing.T) {
	type first struct {
		A int `json:"a"`
	}
	type cents struct {
		A int64 `json:"a" decimal:"2"`
	}
	type text struct {
		A string `json:"a"`
	}
	for _, line := range []string{
		`{"a":2}{"a":3}`, `{"a":2} {"a":3}`, `{"a":2},{"a":3}`, `{"a":2}x{}`, `{"a":2}"x":{}}`, `{"a":2,"b":3}{"a":3}`, `{"a":2,"b":{}}{"a":3}`,
		`{"a":2,"b":{}}{"a":{}}`, `{"a":2,"b":"{"}{"a":"}"}`, `{"a":2,"b":":{"}{"a":"}"}`, `{"a":2,"b":":{"} {"a":"}"}`, `{"a":2,"b":":{"},{"a":"}"}`,
		`{"a":2,"b":", {"}, {"a":"}"}`, `{"a":2,"b":"[{"},{"a":"}"}`, `{"a":2,"b":"\":{"},{"a":"}"}`, `{"a":2,"b":3},{"a":3,"b":4}`, `{"a":2,"b":3},"c":{"a":3}`,
		`{"a":2,"b":{"c":1}},"d":{"e":1}`, `{"a":2,"b":[{},{}]},{"a":3}`,
	} {
		asInt := refuses[first](t, line)
		asCents := refuses[cents](t, line)
		whole := refuses[string](t, line)
		raw := refuses[json.RawMessage](t, line)
		asText := refuses[text](t, strings.Replace(line, "2", `"2"`, 1))
		if asInt == nil || asCents == nil || whole == nil || raw == nil || asText == nil {
			t.Errorf("%s: read without an error: %v, %v, %v, %v, %v", line, asInt, asCents, whole, raw, asText)
		}
	}
	for _, line := range []string{
		`{"a":2]`, `{"a":2]}`, `{"a":2;"b":3}`, `{"a":2 "b":3}`, `{"a":2"b":3}`, `{"a":2},`, `{"a":007}`, `{"a":01,"b":1}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`,
		`{"a":+1}`, `{"a":-}`, `{"a":0x1}`, `{"a":1_0}`, `{"a":--1}`, `{"a":00}`, `{"a":-01}`, `{"a":012.5}`,
	} {
		asInt := refuses[first](t, line)
		asCents := refuses[cents](t, line)
		if asInt == nil || asCents == nil {
			t.Errorf("%s: read without an error: %v, %v", line, asInt, asCents)
		}
	}
	err := refuses[first](t, `{"a":2,"b":{}}{"a":3}`)
	if want := "offset 14: expected the end of the line, found an object"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestJoinedLines joins random lines, which no type may read as one.
func TestJoinedLines(t *testing.T) {
	for seed := range uint64(40) {
		m := maker{rand.New(rand.NewPCG(seed, 1))}
		typ, other := m.structType(1), m.structType(3)
		d, err := NewDecoder(typ)
		if err != nil {
			t.Fatal(err)
		}
		rec := reflect.New(typ)
		for range 50 {
			one, two := m.line(typ, 0), m.line(other, 0)
			line := one[:len(one)-1] + `,"x":` + two + "}" + []string{"", " ", ",", " , "}[m.IntN(4)] + two
			for _, d.Loose = range []bool{false, true} {
				if one[0] == '{' && one != "{}" && d.Decode(pad([]byte(line)), rec.UnsafePointer()) == nil {
					t.Fatalf("seed %d: %s\nreads %s", seed, typ, line)
				}
			}
		}
	}
}

// TestWholeLineIsChecked checks that strictness does not depend on the fields, but on Loose alone.
func TestWholeLineIsChecked(t *testing.T) {
	for _, line := range []string{`{"i":5,"s":"x","b":007}`, `{"i":5,"s":"x","b":[1,]}`, `{"i":5,"s":"x",}`, `{"i":5,"s":"x","b"}`, `{"i":5,"s":"x",b:1}`, `{"i":5,"s":"x","b":"\q"}`} {
		d := newDecoder[wantedS](t)
		if d.Decode(pad([]byte(line)), unsafe.Pointer(new(wantedS))) == nil {
			t.Errorf("%s: read without an error", line)
		}
		if d.Loose = true; d.Decode(pad([]byte(line)), unsafe.Pointer(new(wantedS))) != nil {
			t.Errorf("%s: read loosely with an error", line)
		}
		for _, err := range []error{errorOf(decode[string](t, line)), errorOf(decode[json.RawMessage](t, line)), errorOf(decode[struct{}](t, line)), errorOf(decode[everything](t, line))} {
			if err == nil {
				t.Errorf("%s: the line is read without an error", line)
			}
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

func TestRefusals(t *testing.T) {
	type deep struct {
		A []map[string]struct {
			C chan int `json:"c"`
		} `json:"a"`
	}
	type hidden struct{ X int }
	type ring struct {
		Next *ring
		F    func()
	}
	for _, c := range []struct {
		t    reflect.Type
		want string // empty: allowed
	}{
		{reflect.TypeFor[deep](), "field a[]{}.c: type chan int: JSON has no form for it: leave it out with `json:\"-\"`"},
		{reflect.TypeFor[ring](), "field F: type func(): JSON has no form for it: leave it out with `json:\"-\"`"},
		{reflect.TypeFor[complex64](), "type complex64: JSON has no form for it: leave it out with `json:\"-\"`"},
		{reflect.TypeFor[struct{ M map[[2]int]int }](), "field M: type map[[2]int]int: map keys must be strings, integers or have text methods"},
		{reflect.TypeFor[struct{ R io.Reader }](), "field R: type io.Reader: the type to make for an interface is not known: use any or a concrete type"},
		{reflect.TypeFor[struct {
			P string `decimal:"2"`
		}](), "field P: tag decimal needs an integer, not string"},
		{reflect.TypeFor[struct {
			P int `decimal:"19"`
		}](), `field P: tag decimal:"19" is not a number of digits from 0 to 18`},
		{reflect.TypeFor[struct {
			P int `decimal:"two"`
		}](), `field P: tag decimal:"two" is not a number of digits from 0 to 18`},
		{reflect.TypeFor[struct{ *hidden }](), "field X: embedded pointer to unexported struct jsoncodec.hidden cannot be set: embed jsoncodec.hidden itself"},
		{reflect.TypeFor[struct {
			C chan int `json:"-"`
			d func()
		}](), ""},
		{reflect.TypeFor[everything](), ""},
	} {
		_, err := NewDecoder(c.t)
		if got := fmt.Sprint(err); err == nil && c.want != "" || err != nil && got != c.want {
			t.Errorf("%s: error %s\nwant %s", c.t, got, c.want)
		}
	}
	if _, err := NewEncoder(reflect.TypeFor[deep]()); err == nil || !strings.HasPrefix(err.Error(), "field a[]{}.c: type chan int") {
		t.Errorf("encoder: error %v", err)
	}
}

func TestQuotedOption(t *testing.T) {
	type quoted struct {
		I int      `json:"i,string"`
		F *float64 `json:"f,string"`
		B bool     `json:"b,string"`
		S string   `json:"s,string"`
	}
	for _, line := range []string{
		`{"i":"5","f":"1.5","b":"true","s":"\"x\\n\""}`, `{"i":null,"f":null,"s":null}`, `{"i":5}`, `{"i":"5 "}`, `{"i":" 5"}`, `{"i":""}`,
		`{"i":"x"}`, `{"b":"tru"}`, `{"s":"x"}`, `{"s":"\"x"}`, `{"i":"1.5"}`,
	} {
		same[quoted](t, []byte(line))
	}
}

func TestWholeLines(t *testing.T) {
	line := "{\"a\": 1 ,\"b\":[ ]}\r"
	if got, err := decode[string](t, line); err != nil || got != line {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := decode[json.RawMessage](t, line); err != nil || string(got) != line || cap(got) != len(line) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "{", `{"a":"`, "x", "[1", `{"a":1}}`} {
		if got, err := decode[string](t, bad); err == nil {
			t.Errorf("%q: read as %q", bad, got)
		}
	}
	for _, line := range []string{`{"a":"}"}`, ` {"{":1} `, "{}", `"text"`, "12", "[]"} {
		if got, err := decode[string](t, line); err != nil || got != line {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestRepeatedKeys holds what the package comment says of them.
func TestRepeatedKeys(t *testing.T) {
	got, err := decode[everything](t, `{"s":"a","in":{"x":1},"s":"b","in":{"name":"n"}}`)
	if err != nil || got.S != "a" || got.In.X != 1 || got.In.Name != "" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, line := range []string{`{"s":"a","s":"b","i":1,"s":"c"}`, `{"s":"a","i":1,"S":"b","S":"c"}`, `{"i":1,"s":"a","s":7}`, `{"i":1,"s":"a","x":2,"s":{}}`} {
		if got, err := decode[wantedS](t, line); err != nil || got.S != "a" {
			t.Errorf("%s: %+v, %v: the first one counts", line, got, err)
		}
	}
	// more than 63 fields
	var fields []reflect.StructField
	for i := range 130 {
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[int]()})
	}
	d, err := NewDecoder(reflect.StructOf(fields))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.New(reflect.StructOf(fields))
	if err := d.Decode(pad([]byte(`{"F1":1,"F129":2,"f129":3,"x":1,"F1":4,"x":2}`)), v.UnsafePointer()); err != nil || v.Elem().Field(1).Int() != 1 || v.Elem().Field(129).Int() != 2 {
		t.Errorf("%v, %v: the first ones count", v.Elem(), err)
	}
}

// TestChangingKeys feeds one decoder lines whose keys come and go and change places, and more of
// them than it remembers.
func TestChangingKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	d, rec := newDecoder[inner](t), new(inner)
	for n := range 3000 {
		members := []string{fmt.Sprintf(`"x":%d`, n), fmt.Sprintf(`"name":"n%d"`, n), fmt.Sprintf(`"tags":["t%d"]`, n)}
		for range r.IntN(5) {
			members = append(members, fmt.Sprintf(`"k%d":{"x":5}`, r.IntN(1000)), `"X ":1`, `"long key with y":2`, `"long key with z":2`)
		}
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		members = members[r.IntN(2):]
		line := "{" + strings.Join(members, ",") + "}"
		var want inner
		if repeats([]byte(line)) {
			continue
		}
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(pad([]byte(line)), unsafe.Pointer(rec)); err != nil || !reflect.DeepEqual(*rec, want) {
			t.Fatalf("%s\n got %+v, %v\nwant %+v", line, *rec, err, want)
		}
	}
	if n := len(d.root.obj.names); n > maxLearned+len(d.root.obj.keys) {
		t.Errorf("%d names are remembered", n)
	}
}

// TestKeysWithLineFeeds checks that a key which was spelled with an escape is not found across the
// end of a line.
func TestKeysWithLineFeeds(t *testing.T) {
	d, rec := newDecoder[wantedS](t), new(wantedS)
	for range 2 {
		if err := d.Decode(pad([]byte(`{"a\nb":1,"s":"x"}`)), unsafe.Pointer(rec)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Decode(pad([]byte("{\"a\nb\":1,\"s\":\"x\",\"i\":1}"))[:3], unsafe.Pointer(rec)); err == nil {
		t.Errorf("read as %+v", rec)
	}
}

// TestKeptRecords checks that what an earlier record refers to does not change.
func TestKeptRecords(t *testing.T) {
	d, rec := newDecoder[everything](t), new(everything)
	line := func(n int) []byte {
		return fmt.Appendf(nil, `{"s":"s%d","sl":[%[1]d,2],"slin":[{"x":%[1]d,"tags":["%[1]d"]}],"map":{"k":%[1]d},"mm":{"k":"%[1]d"},"ptr":%[1]d,"ptrin":{"x":%[1]d},"any":[%[1]d],"bytes":[%[1]d],"p1":%[1]d,"n":%[1]d,"big":%[1]d}`, n)
	}
	var kept, want []everything
	for n := range 50 {
		var w everything
		if err := json.Unmarshal(line(n), &w); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(pad(line(n)), unsafe.Pointer(rec)); err != nil {
			t.Fatal(err)
		}
		kept, want = append(kept, *rec), append(want, w)
	}
	if !reflect.DeepEqual(kept, want) {
		t.Error("kept records changed")
	}
}

func TestNoAllocations(t *testing.T) {
	data := catalog(100_000)
	d, rec := newDecoder[wanted](t), new(wanted)
	e, _ := NewEncoder(reflect.TypeFor[wanted]())
	run := func() {
		lines(data, func(line []byte) {
			if bytes.IndexByte(line, '\\') < 0 {
				if err := d.Decode(line, unsafe.Pointer(rec)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	run()
	if n := testing.AllocsPerRun(3, run); n > 0 {
		t.Errorf("reading allocates %v times", n)
	}
	buf := make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(10, func() { buf, _ = e.Append(buf[:0], unsafe.Pointer(rec)) }); n > 0 {
		t.Errorf("writing allocates %v times", n)
	}
}
