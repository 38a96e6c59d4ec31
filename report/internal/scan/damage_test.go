package scan

import (
	"strings"
	"testing"
)

// JSON that is damaged where the query does not look is a bad record too: after the last wanted
// column, inside of lists, between the elements of an array, and at its end.
func TestDamagedJSON(t *testing.T) {
	good := `{"a":1,"b":["x","y"],"c":{"d":[1,2],"e":"f"},"g":"a longer text, of many words"}`
	for _, damaged := range []string{
		`{"a":1,"b":["x" "y"],"c":{"d":[1,2],"e":"f"},"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2,"e":"f"},"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2],"e":"f"} "g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2}],"e":"f"},"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2],"e":f},"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2],"e":"f"},"g":"a longer text, of many words}`,
		`{"a":1,"b":["x","y",],"c":{"d":[1,2],"e":"f"},"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2],"e":"f"},,"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,02],"e":"f"},"g":"a longer text, of many words"}`,
		`{"a":1,"b":["x","y"],"c":{"d":[1,2],"e":"\f"},"g":"a longer \x text, of many words"}`,
	} {
		table := resolve(t, Request{Paths: []string{write(t, "a.jsonl", good+"\n"+damaged+"\n"+good+"\n")}})
		for _, n := range []int{0, 1} {
			if rows, bad := read(t, table, table.Columns[:n], 0); len(rows) != 2 || len(bad) != 1 || !strings.Contains(bad[0], "a.jsonl:2: ") {
				t.Errorf("%s: %d columns: %d rows, and bad %q", damaged, n, len(rows), bad)
			}
		}
	}
	for _, c := range []struct{ text, bad string }{
		{"[\n{\"a\":1},\n{\"a\":2}\n]\n", ""},
		{"[] [\n{\"a\":1},\n{\"a\":2}\n]\n[]", ""},
		{"{\"a\":\n1}\n{\"a\":2}", ""},
		{"[\n{\"a\":1},\n{\"a\":2}\n", ":4: the array that begins in line 1 has no end"},
		{"[\n{\"a\":1}\n{\"a\":2}\n]\n", ":3: expected a comma or the end of the array, found another record"},
		{"[\n{\"a\":1},\n{\"a\":2},\n]\n", ":4: expected a record after the comma, found the end of the array"},
		{"[\n{\"a\":1},\n\n,{\"a\":2}\n]\n", ":4: expected a record, found a comma"},
		{"[\n{\"a\":1},\n{\"a\":2}\n]]\n", ":4: offset 0: expected an object, found \"]\""},
		{"{\"a\":\n1}\n,{\"a\":2}", ":3: expected a record, found a comma"},
		{"[\n{\"a\":1},\n{\"a\":2},\n{\"a\"", ":4: offset 4: expected a colon, found the end of the line"},
		{"[\n{\"a\":1},\n{\"a\":2},\n{\"a\":\"a\nb\"}]", ":4: offset 7: field a: expected no control character in a string, found \"\\t\""},
	} {
		table := resolve(t, Request{Paths: []string{write(t, "a.json", c.text)}})
		rows, bad := read(t, table, table.Columns[:1], 0)
		if got := strings.Join(bad, "; "); len(rows) != 2 || got[min(len(got), len(table.Paths[0])):] != c.bad {
			t.Errorf("%q: rows %q, bad %q, want %q", c.text, rows, got, c.bad)
		}
	}
}
