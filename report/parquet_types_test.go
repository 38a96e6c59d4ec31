package report_test

import (
	"archive/zip"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// parquetTypes are the values a and b of the files in types.zip of parquetio, as a report writes
// them. Each file has the rows a, NULL, b.
var parquetTypes = map[string][2]string{
	"bool": {"true", "false"}, "int8": {"-128", "127"}, "int16": {"-32768", "5"}, "int32": {"-2147483648", "5"},
	"int64": {"-9223372036854775808", "9223372036854775807"}, "page2": {"-9223372036854775808", "9223372036854775807"},
	"uint8": {"255", "1"}, "uint16": {"65535", "1"}, "uint32": {"4294967295", "1"}, "uint64": {"18446744073709551615", "1"},
	"half": {"1.5", "-0.25"}, "float": {"1.5", "-0.25"}, "double": {"1.5", "-0.25"},
	"string": {"é", ""}, "plain": {"é", ""}, "dictionary": {"é", ""}, "enum": {"é", ""}, "json": {`{"a":1}`, "[]"},
	"binary": {`\xff00`, `\x`}, "fixed8": {`\x3132333435363738`, `\x6162636465666768`},
	"uuid": {"00112233-4455-6677-8899-aabbccddeeff", "00000000-0000-0000-0000-000000000001"},
	"dec0": {"1234", "-1"}, "dec9": {"12.34", "-0.01"}, "dec9i": {"12.34", "-0.01"}, "dec18": {"12.34", "-0.01"}, "dec18i": {"12.34", "-0.01"}, "dec38": {"12.34", "-0.01"},
	"date": {"2024-03-10", "1969-12-31"}, "time_ms": {"01:02:03.005", "23:59:59.999"}, "time_us": {"01:02:03.005", "23:59:59.999"}, "time_ns": {"01:02:03.005", "23:59:59.999"},
	"ts_ms": {"2024-03-10 12:34:56.123", "1969-12-31 23:59:59.999"}, "ts_us": {"2024-03-10 12:34:56.123456", "1969-12-31 23:59:59.999"},
	"ts_ns": {"2024-03-10 12:34:56.123456", "1969-12-31 23:59:59.999"}, "tz_us": {"2024-03-10 12:34:56.123456+00", "1969-12-31 23:59:59.999+00"},
	"int96": {"2024-03-10 12:34:56.123456", "1969-12-31 23:59:59.999"},
}

// TestParquetOfOtherWriters reads every type of pyarrow, DuckDB and Polars: alone, and beside and in
// lists and structs. Package parquetio reads the same values from the same files.
func TestParquetOfOtherWriters(t *testing.T) {
	archive, err := zip.OpenReader("../mapreduce/parquetio/testdata/types.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	dir := t.TempDir()
	for _, f := range archive.File {
		name := strings.TrimSuffix(filepath.Base(f.Name), ".parquet")
		if name == "null" {
			continue
		}
		want, ok := parquetTypes[name]
		if !ok {
			t.Errorf("%s: no values are known", f.Name)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, strings.ReplaceAll(f.Name, "/", "-"))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a, b := want[0], want[1]
		for columns, rows := range map[string][][]string{
			"v::text, 1": {{a, "1"}, {"", "1"}, {b, "1"}},
			"v::text, l[1]::text, s.v::text, tags[1], 1": {{a, a, a, "x", "1"}, {"", "", "", "", "1"}, {b, "", "", "", "1"}},
		} {
			text, err := answer(t, mapreduce.Local{Slots: 1}, "SELECT "+columns+" FROM '"+path+"'")
			got, csvErr := csv.NewReader(strings.NewReader(text)).ReadAll()
			if err != nil || csvErr != nil || !reflect.DeepEqual(got, rows) {
				t.Errorf("%s: %s: %q, want %q; %v, %v", f.Name, columns, got, rows, err, csvErr)
			}
		}
	}
}
