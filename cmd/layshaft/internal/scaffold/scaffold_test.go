package scaffold

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// write writes a file of the user and the module for it.
func write(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	input := ""
	if name != "" {
		data := []byte(content)
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, _ = w.Write(data)
			_ = w.Close()
			data = b.Bytes()
		}
		input = filepath.Join(dir, name)
		if err := os.WriteFile(input, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(dir, "orders")
	if _, err := (Module{Path: "example.com/orders", Dir: module, Input: input, Replace: root}).Write(); err != nil {
		t.Fatal(err)
	}
	return module
}

// run runs a command in a module, without the network.
func run(t *testing.T, module string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

const table = "order id,brand,price,2nd price,paid,stock,x,x\n1,Acme,1.5,3,true,,x,x\n2,\"Bo\nlt\",2,4,false,7,y,y\n3,Acme,4,1,true,1,z,z\n"

// A new module is built without the network; its test passes, and it reads the user's file.
func TestModule(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	module := write(t, "orders.csv", table)
	run(t, module, "go", "test", "-vet=off", "-ldflags=-w", "./...")
	program := filepath.Join(module, "orders")
	run(t, module, "go", "build", "-ldflags=-w", "-o", program, ".")
	if got, want := run(t, module, program, "../orders.csv"), "Acme\t2\t5.5\nBo\nlt\t1\t2\n"; got != want {
		t.Errorf("it printed %q, want %q", got, want)
	}
	if help := run(t, module, program, "-h"); !strings.HasPrefix(help, "usage: orders [FLAGS] FILE|DIRECTORY|'GLOB'...\n\nCounts the records of the files by brand.\n") {
		t.Errorf("-h printed %q", help)
	}
}

// The code for each kind of input compiles, and is formatted.
func TestKinds(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules")
	}
	for _, input := range []struct{ name, content, want string }{
		{"", "", "textio.Lines(in.Files...)"},
		{"notes.txt", "a b\nc\n", "textio.Lines(in.Files...)"},
		{"orders.csv", table, "csvio.Rows[Row]"},
		{"orders.tsv.gz", "a\tb\nx\t\ny\t2\n", "B int64  `csv:\"b,omitempty\"`"},
		{"orders.jsonl", `{"id": 1, "tags": ["x"], "name": "n", "price": 1}` + "\n" + `{"name": null, "price": 1.5}`, "Price float64 `json:\"price\"`"},
		{"german.csv", "Datum;Betrag (in EUR, netto);Ort\n2026-01-03;12,50;Köln\n", "csvio.Rows[Row](in.Files...).Comma(';')"},
		{"numbers.csv", "1st,b\n1,2\n", "Column1st int64 `csv:\"1st\"`"},
	} {
		module := write(t, input.name, input.content)
		code, err := os.ReadFile(filepath.Join(module, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(code), input.want) {
			t.Errorf("%s: no %s in\n%s", input.name, input.want, code)
		}
		run(t, module, "go", "vet", "./...")
	}
}

// What cannot be written is refused before anything is written.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	binary := filepath.Join(dir, "x.csv")
	if err := os.MkdirAll(filepath.Join(full, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, []byte{'a', 0}, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		module Module
		want   string
	}{
		{Module{Path: "example.com/1x"}, `must begin with a letter`},
		{Module{Path: "x", Dir: full}, "exists and is not empty"},
		{Module{Path: "x", Input: filepath.Join(dir, "none.csv")}, "no such file"},
		{Module{Path: "x", Input: binary}, "is not text"},
		{Module{Path: "x", Replace: dir}, "is no checkout of Layshaft"},
	} {
		if tt.module.Dir == "" {
			tt.module.Dir = filepath.Join(dir, "new")
		}
		if _, err := tt.module.Write(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.module, err, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a refused module was begun")
	}
}
