package main

import (
	"maps"
	"strings"
	"testing"
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
