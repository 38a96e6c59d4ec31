package pgtest

import "testing"

func TestMain(m *testing.M) { Main(m) }

func TestNew(t *testing.T) {
	db := New(t)
	if got := db.Exec(t, "SELECT current_database(), NULL"); len(got) != 1 || got[0][0] != db.Name || got[0][1] != "" {
		t.Errorf("got %q, want one row with %s", got, db.Name)
	}
}
