package sql

import "testing"

// A written name is read again as the name of a column.
func TestWritten(t *testing.T) {
	for name, want := range map[string]string{
		"price": "price", "Qty": "Qty", "Région": "Région", "n2": "n2", "_": "_", "first": "first",
		"Customer Name": `"Customer Name"`, "2nd": `"2nd"`, "order": `"order"`, "Left": `"Left"`, `a"b`: `"a""b"`, "": `""`,
	} {
		got := Written(name)
		if got != want {
			t.Errorf("%q is written %s, want %s", name, got, want)
		}
		if name == "" {
			continue
		}
		if _, err := Parse("SELECT " + got + " FROM t"); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}
