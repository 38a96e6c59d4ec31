package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestShell runs a session: commands, a statement of two lines, an error that does not end it.
func TestShell(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("products.csv", []byte("sku,price\na,1.50\nb,2.00\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	input := []string{".help", ".output xml", ".output csv", ".schema products.csv", "SELECT sum(price) AS total", "FROM products.csv;", "SELECT nothing FROM products.csv;", ".what", ".quit"}
	var out strings.Builder
	s := &shell{c: &reportCmd{Progress: "none"}, format: "csv", out: &out}
	prompts := ""
	err := s.loop(t.Context(), func(prompt string) (string, error) {
		if len(input) == 0 {
			return "", io.EOF
		}
		prompts += prompt[:3]
		line := input[0]
		input = input[1:]
		return line, nil
	})
	if err != nil || len(input) > 0 || !strings.Contains(prompts, "lay   lay") {
		t.Errorf("ended with %v, left %q, prompts %q", err, input, prompts)
	}
	for _, want := range []string{".output FORMAT", `format "xml" is not known`, "sku,text\nprice,\"decimal(18,2)\"\n", "total\n3.50\n", `there is no column "nothing"`, "command .what is not known"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the session lacks %q:\n%s", want, out.String())
		}
	}
	line, pos, ok := s.complete("SELECT to FROM pro", 18, '\t')
	if !ok || line != "SELECT to FROM products.csv" || pos != len(line) {
		t.Errorf("completed to %q at %d, %v", line, pos, ok)
	}
	if line, _, _ := s.complete("SELECT tot", 10, '\t'); line != "SELECT total" {
		t.Errorf("completed to %q", line)
	}
}

// The arrow keys recall whole statements in one line, and neither parts of them nor statements that
// were dropped.
func TestShellHistory(t *testing.T) {
	var out strings.Builder
	s := &shell{c: &reportCmd{Progress: "none"}, format: "csv", out: &out}
	input := []string{"SELECT 1, -- one", "  '--;'", ";", "SELECT", "^C", ".help", "SELECT 2;", "SELECT 2;", "quit"}
	err := s.loop(t.Context(), func(string) (string, error) {
		line := input[0]
		input = input[1:]
		s.history.Add(line) // as the terminal does
		s.interrupted = line == "^C"
		return line, nil
	})
	var all []string
	for i := range s.history.Len() {
		all = append(all, s.history.At(i))
	}
	if want := "SELECT 2;|.help|SELECT 1, '--;' ;"; err != nil || strings.Join(all, "|") != want {
		t.Errorf("recalls %q, %v, want %q", all, err, want)
	}
}

// Tab completes in every place of a statement, over several lines, and in commands.
func TestShellCompletes(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("products.csv", []byte("sku,price,brand_name\na,1.50,x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"SEL":                              "SELECT",
		"des":                              "describe",
		"SELECT count(*) FROM prod":        "SELECT count(*) FROM products.csv",
		"SELECT * FROM 'pro":               "SELECT * FROM 'products.csv",
		"FROM products.csv SELECT br":      "FROM products.csv SELECT brand_name",
		"FROM products.csv p WHERE p.pr":   "FROM products.csv p WHERE p.price",
		"SELECT approx_q":                  "SELECT approx_quantile(",
		"SELECT 1 FROM products.csv wher":  "SELECT 1 FROM products.csv where",
		"SELECT 1 FROM products.csv p GRO": "SELECT 1 FROM products.csv p GROUP BY",
		"SELECT sum(price) AS total FROM products.csv ORDER BY tot": "SELECT sum(price) AS total FROM products.csv ORDER BY total",
		".sch":                        ".schema ",
		".schema pr":                  ".schema products.csv",
		".output mark":                ".output markdown",
		".explain SELECT * FROM prod": ".explain SELECT * FROM products.csv",
	} {
		s := &shell{c: &reportCmd{Progress: "none"}}
		if got, pos, ok := s.complete(line, len(line), '\t'); !ok || got != want || pos != len(want) {
			t.Errorf("%q is completed to %q at %d, %v, want %q", line, got, pos, ok, want)
		}
	}
	s := &shell{c: &reportCmd{Progress: "none"}, lines: []string{"SELECT sku", "FROM products.csv"}}
	if got, _, _ := s.complete("ORDER BY pric", 13, '\t'); got != "ORDER BY price" {
		t.Errorf("the third line is completed to %q", got)
	}
	s.lines = nil
	if got, _, _ := s.complete("SELECT bra FROM 'products.csv'", 10, '\t'); got != "SELECT brand_name FROM 'products.csv'" {
		t.Errorf("a column before FROM is completed to %q", got)
	}
}

// TestDropLine checks that ^C drops the line and ends it, as the keys ^U and Enter do.
func TestDropLine(t *testing.T) {
	interrupted := false
	d := &dropLine{strings.NewReader("SELECT\x03"), &interrupted}
	keys := make([]byte, 256)
	if n, err := d.Read(keys); err != nil || string(keys[:n]) != "SELECT\x15\r" || !interrupted {
		t.Errorf("got %q, %v, interrupted %v", keys[:n], err, interrupted)
	}
	s := &shell{c: &reportCmd{Progress: "none"}, format: "csv", out: new(strings.Builder), interrupted: false}
	input := []string{"SELECT 1", "", "SELECT 2;", "quit"}
	err := s.loop(t.Context(), func(string) (string, error) {
		line := input[0]
		input = input[1:]
		s.interrupted = line == ""
		return line, nil
	})
	if got := s.out.(*strings.Builder).String(); err != nil || got != "2\n2\n" {
		t.Errorf("got %q, %v, want the second statement alone", got, err)
	}
}
