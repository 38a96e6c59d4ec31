package main

import (
	"maps"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report"
)

// One -types may give types to several columns.
func TestSplitTypes(t *testing.T) {
	got := splitTypes(map[string]string{"sku": "text,price=decimal(12,2), n=int", "x": "double"})
	if want := map[string]string{"sku": "text", "price": "decimal(12,2)", "n": "int", "x": "double"}; !maps.Equal(got, want) {
		t.Errorf("types are %q, want %q", got, want)
	}
}

// A file in place of the query is an error that shows the query.
func TestFileWithoutQuery(t *testing.T) {
	for arg, isFile := range map[string]bool{"report.go": true, "catalog/*.csv": true, "SELECT 1": false, "SELECT*FROM'a.csv'": false} {
		c := reportCmd{Query: []string{arg}}
		if _, err := c.text(); isFile != (err != nil && strings.Contains(err.Error(), "SELECT * FROM '"+arg+"'")) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// An output format that is not known leads to the right spelling, or to the statement that writes
// such files.
func TestOutputFormat(t *testing.T) {
	for name, want := range map[string]string{
		"md": "write -o markdown", "JSON": "write -o json", "Parquet": "write -o parquet", "jsn": "use json, ", "ndjson": "write -o jsonl", "xlsx": "-o csv",
	} {
		var f outputFormat
		if err := f.UnmarshalText([]byte(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	for _, name := range append(report.Formats(), "auto") {
		var f outputFormat
		if err := f.UnmarshalText([]byte(name)); err != nil || string(f) != name {
			t.Errorf("%s: got %q, %v", name, f, err)
		}
	}
}

// TestArgumentsAreBytes checks that no argument is changed: texts of tasks may be in any encoding.
func TestArgumentsAreBytes(t *testing.T) {
	grammar := new(cli)
	if _, err := newParser(grammar).Parse(acceptOneDash([]string{"coordinator", "-data", "caf\xe9"})); err != nil {
		t.Fatal(err)
	}
	if got := grammar.Coordinator.Run.Data; got != "caf\xe9" {
		t.Errorf("-data is %q", got)
	}
	short := new(reportCLI)
	if _, err := newParser(short).Parse([]string{"report", "SELECT '\xff'"}); err != nil {
		t.Fatal(err)
	}
	if got := short.Report.Query; len(got) != 1 || got[0] != "SELECT '\xff'" {
		t.Errorf("the statement is %q", got)
	}
}
