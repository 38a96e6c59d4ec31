package source_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/source"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestFolders reads small files that share a split, missing values, escapes and bad values.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"year=2025/brand=A%2FB/a.txt": "1\n2\n", "year=2026/brand=__HIVE_DEFAULT_PARTITION__/a.txt": "3\n", "year=x/a.txt": "4\n5\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}
	s := source.Folders[string](textio.Lines(dir), func(folders map[string]string, v *string) error {
		if _, err := strconv.Atoi(folders["year"]); err != nil {
			return err
		}
		brand, ok := folders["brand"]
		*v = fmt.Sprint(folders["year"], " ", brand, " ", ok, " ", *v)
		return nil
	})
	var bad []string
	got, _ := read(t, s, 0, func(r *connector.Reader[string], err error) {
		bad = append(bad, fmt.Sprint(filepath.Base(filepath.Dir(r.Path)), " ", r.Offset, " ", err))
	})
	if want := []string{"2025 A/B true 1", "2025 A/B true 2", "2026  false 3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := `strconv.Atoi: parsing "x": invalid syntax`; !slices.Equal(bad, []string{"year=x 0 " + want, "year=x 2 " + want}) {
		t.Errorf("bad records %q", bad)
	}
	_, err := mapreduce.Define("folders", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Read(p, s)
	}).Collect(t.Context(), mapreduce.Local{}, mapreduce.None{})
	if err == nil || !strings.Contains(err.Error(), "invalid syntax") || !strings.Contains(err.Error(), "MaxBad") {
		t.Error(err)
	}
	if _, err := source.Folders(connector.Source[string](textio.Lines(dir)), nil).Splits(t.Context(), 0); err == nil {
		t.Error("a nil function was accepted")
	}
}

// The year of a sale is only in the name of its folder.
func ExampleFolders() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for _, year := range []string{"2025", "2026"} {
		folder := filepath.Join(dir, "year="+year)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			fmt.Println(err)
			return
		}
		if err := os.WriteFile(filepath.Join(folder, "part-0.csv"), []byte("shop,cents\nOslo,"+year[2:]+"\n"), 0o600); err != nil {
			fmt.Println(err)
			return
		}
	}
	type Sale struct {
		Shop  string `csv:"shop"`
		Cents int64  `csv:"cents"`
		Year  string `csv:"-"`
	}
	sales := mapreduce.Define("sales", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[Sale] {
		return mapreduce.Read(p, source.Folders[Sale](csvio.Rows[Sale](dir+"/**/*.csv"), func(folders map[string]string, s *Sale) error {
			s.Year = folders["year"]
			return nil
		}))
	})
	fmt.Println(sales.Collect(context.Background(), mapreduce.Local{}, dir))
	// Output: [{Oslo 25 2025} {Oslo 26 2026}] <nil>
}
