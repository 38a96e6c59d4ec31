package postgres

import (
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Only wanted columns are selected, and only conditions that the database decides as the report
// does are passed on.
func TestChoose(t *testing.T) {
	column := func(name string, oid uint32, typ string, kind byte) postgres.Column {
		return postgres.Column{Name: name, Type: postgres.Type{OID: oid, Name: typ, Kind: kind, Modifier: -1}}
	}
	r := &postgres.Relation{Columns: []postgres.Column{column("id", postgres.OIDInt8, "bigint", 'b'), column("title", postgres.OIDText, "text", 'b'),
		column("mood", 90000, "mood", 'e'), column("code", postgres.OIDBpchar, "character", 'b'), column("Net", 869, "inet", 'b')}}
	text := func(s string) *vec.Vec { return &vec.Vec{Type: vec.Of(vec.Text), Len: 1, Strings: []string{s}} }
	s := &source{
		columns: []vec.Field{{Name: "title", Type: vec.Of(vec.Text)}, {Name: "id", Type: vec.Of(vec.Int)}, {Name: "mood", Type: vec.Of(vec.Text)}, {Name: "code", Type: vec.Of(vec.Text)}, {Name: "Net", Type: vec.Of(vec.Text)}},
		bounds: []scan.Bound{
			{Column: 1, Op: ">=", Values: &vec.Vec{Type: vec.Of(vec.Int), Len: 1, Ints: []int64{-5}}},
			{Column: 0, Op: "=", Values: text(`o'clock\`)},
			{Column: 0, Op: "<>", Values: text("a\x00b")}, // no text of PostgreSQL
			{Column: 2, Op: "<>", Values: text("none")},
			{Column: 3, Op: "=", Values: text("ab")}, // blanks at the end count in a report
			{Column: 4, Op: "=", Values: text("::1")},
			{Column: 4, Op: "is null"},
		},
	}
	got, err := s.choose(r)
	if err != nil {
		t.Fatal(err)
	}
	if list, want := strings.Join(got.List, ", "), `"title", "id", "mood", "code", CASE WHEN "Net" IS NOT NULL THEN format('%s', "Net") END`; list != want {
		t.Errorf("the columns are %s, want %s", list, want)
	}
	const want = `"id" >= '-5'::bigint AND "title" COLLATE "C" =  E'o''clock\\'::text AND "mood"::text COLLATE "C" <> 'none' AND "Net" IS NULL`
	if got.Where != want {
		t.Errorf("the condition is\n%s, want\n%s", got.Where, want)
	}
}
