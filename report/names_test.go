package report_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// An error about a name has the name that was probably meant: of scalar functions as of aggregates,
// and quotes for a text that was taken for a column.
func TestMisspeltNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(path, []byte("brand,price\nAcme,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT summ(price) FROM T":                  "no function is named summ; did you mean sum?",
		"SELECT lenght(brand) FROM T":                "no function is named lenght; did you mean length?",
		"SELECT cont(*) FROM T":                      "did you mean count?",
		"SELECT brand FROM T WHERE brand = Acme":     "text needs single quotes: 'Acme'",
		"SELECT zzzzzzzzzzzzzzzzzzzzz(brand) FROM T": "no function is named zzzzzzzzzzzzzzzzzzzzz",
	} {
		_, err := report.Prepare(t.Context(), mapreduce.Local{}, strings.ReplaceAll(query, "FROM T", "FROM '"+path+"'"))
		var e *report.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message+"; "+e.Hint, want) {
			t.Errorf("%s: error %v, want %q", query, err, want)
		}
	}
}
