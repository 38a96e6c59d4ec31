package expr

import (
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// FuzzTexts evaluates everything that reads a text or a pattern. Nothing panics, and values survive
// a round trip through their text.
func FuzzTexts(f *testing.F) {
	s := schema{"s": Column(0, vec.Of(vec.Text), "s", 0), "p": Column(1, vec.Of(vec.Text), "p", 0), "j": Column(2, vec.Of(vec.JSON), "j", 0)}
	var all []*Expr
	for _, text := range []string{
		"s LIKE p", "s ILIKE p", "s SIMILAR TO p", "s ~ p", "regexp_replace(s, p, s, 'g')", "regexp_extract_all(s, p)", "strptime(s, p)",
		"strftime(TIMESTAMP '2024-01-31 15:04:05', p)", "to_date(s, p)", "to_char(TIMESTAMP '2024-01-31 15:04:05', p)", "to_char(-1234.5, p)",
		"to_char(12::bigint, p)", "j -> p", "j ->> p", "json_keys(j)", "json_type(j)", "json_array_length(j)", "json_valid(s)", "TRY_CAST(s AS json)",
		"TRY_CAST(s AS bigint[])", "TRY_CAST(j AS struct(a text, b bigint[]))", "TRY_CAST(s AS blob)", "date_trunc(p, TIMESTAMP '2024-01-31')",
		"timezone(p, TIMESTAMP '2024-01-31')", "format(p, s)", "split_part(s, p, -2)", "replace(s, p, 'x')", "levenshtein(s, p)", "lpad(s, 7, p)",
		"translate(s, p, s)", "overlay(s, p, 2)", "initcap(s)", "reverse(s)", "substr(s, 2, 3)", "right(s, 2)", "decode(s, 'hex')", "string_split(s, p)",
		"TRY_CAST(j AS map(text, bigint))", "j::text", "TRY_CAST(j AS double)", "to_json(s)", "s[2:3]", "lower(s)", "upper(s)",
	} {
		e, err := s.parse(f, text)
		if err != nil {
			f.Fatal(text, err)
		}
		all = append(all, e)
	}
	var trips []vec.Type
	for _, k := range []vec.Kind{vec.Bool, vec.Int, vec.Float, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ, vec.Interval, vec.Blob} {
		trips = append(trips, vec.Of(k))
	}
	trips = append(trips, vec.DecimalOf(20, 6))
	for _, seed := range [][2]string{
		{"abc", "a%c_"}, {"2024-01-31 15:04:05.5+02:00", "%Y-%m-%d %H:%M:%S"}, {"1 year 2 mons -3 days 04:05:06", "YYYY-MM-DD HH24:MI"},
		{`{"a": [1, {"b": "\u00e4\ud83d\ude00"}]}`, "$.a[1].b"}, {"-12.50e3", "S9,999.00"}, {`\x41\101`, "(a|b)*"}, {"P1Y2DT3H", "FMDay Mon"},
		{"0044-03-15 BC", "[a-"}, {`"\u1`, `/a/0`}, {"3:04 pm", "%I:%M %p"}, {"Jan 5, 2024", "Mon DD, YYYY"}, {"99999999999 years ago", "\\"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, pattern string) {
		if len(text) > 200 || len(pattern) > 50 {
			return
		}
		b := &vec.Batch{N: 1, Cols: []*vec.Vec{vecOf(vec.Of(vec.Text), []string{text}, nil), vecOf(vec.Of(vec.Text), []string{pattern}, nil),
			vecOf(vec.Of(vec.JSON), []string{text}, nil)}}
		for _, e := range all {
			v, err := e.Eval(b)
			if x, ok := err.(*Error); err != nil && (!ok || x.Row != 0 || x.Message == "") {
				t.Errorf("%s: error %v", e.Key(), err)
			}
			if err == nil && (v.Len != 1 || !v.Type.Equal(e.Type)) {
				t.Errorf("%s: %d rows of %s", e.Key(), v.Len, v.Type)
			}
		}
		for _, typ := range trips {
			e, _ := Cast(s["s"], typ, true, 0)
			v, err := e.Eval(b)
			if err != nil {
				t.Fatal(err)
			}
			if v.Null(0) {
				continue
			}
			again := strings.ToValidUTF8(string(AppendText(nil, v, 0)), "")
			c, err := Cast(Text(again, 0), typ, false, 0)
			if err != nil || string(AppendText(nil, c.Value, 0)) != again {
				t.Errorf("%q as %s is %s, and that is %v", text, typ, again, err)
			}
		}
	})
}
