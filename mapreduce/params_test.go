package mapreduce_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

type inner struct {
	A string
	b int
}

func params[P any](t *testing.T, in P, wrong string) {
	t.Helper()
	d := mapreduce.Define("params", func(p *mapreduce.Plan, _ P) mapreduce.Dataset[int] {
		return mapreduce.Read(p, memio.Of(1))
	})
	_, err := d.Collect(t.Context(), nil, in)
	if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
		t.Errorf("%+v: %v, want %q", in, err, wrong)
	}
}

// TestParametersThatJSONChanges checks that parameters arrive as they were, or are refused.
func TestParametersThatJSONChanges(t *testing.T) {
	n := 5
	params(t, inner{A: "a"}, "")
	params(t, inner{A: "a", b: 1}, "inner.b is not exported")
	params(t, &inner{b: 1}, "inner.b is not exported")
	params(t, []inner{{}, {b: 1}}, "[1].b is not exported")
	params(t, map[string]inner{"x": {b: 1}}, `["x"].b is not exported`)
	params(t, struct{ In *inner }{&inner{b: 1}}, ".In.b is not exported")
	params(t, struct{ Path string }{"a\xff"}, `.Path is "a\xff", which is not UTF-8`)
	params(t, map[string]int{"\xff": 1}, "is a key that comes back as another one")
	params(t, "a\xff", "which is not UTF-8")
	params(t, struct{ Path []byte }{[]byte("a\xff")}, "")
	params(t, struct {
		N int `json:"-"`
	}{1}, `.N is tagged json:"-"`)
	params(t, struct {
		time.Time
		Name string
	}{time.Now(), "n"}, ".Name gets lost")
	params(t, struct {
		At   time.Time
		Raw  json.RawMessage
		Big  *big.Int
		D    time.Duration
		Null *int
		Five *int
		List []string
		None map[string]int
	}{At: time.Now(), Raw: json.RawMessage(`{"a": 1}`), Big: big.NewInt(7), D: time.Second, Five: &n, List: []string{}}, "")
	params(t, struct {
		List []string `json:",omitempty"`
	}{[]string{}}, "")
	params(t, map[string]any{"a": 1.5, "b": "x", "c": nil, "d": []any{true}}, "")
	params(t, map[string]any{"a": 5}, `["a"] is int and comes back as float64`)
	params(t, struct{ X, Y any }{X: []int{1}}, ".X is []int and comes back as []interface {}")
	params(t, struct{ F func() }{}, "cannot be written as JSON")
}
