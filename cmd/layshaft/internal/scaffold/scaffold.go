// Package scaffold writes the first files of a module with a pipeline over a file of the user.
//
// The pipeline counts the records of the file by one of its columns. The user changes it from
// there. The files are templates in the directory templates.
package scaffold

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

// Module describes a module to write.
type Module struct {
	// Path is the path of the module, such as example.com/orders. Its last element names the
	// program.
	Path string
	// Dir is the directory to write; it must be missing or empty.
	Dir string
	// Input is the user's file: CSV, TSV, JSON Lines or text, also with gzip. Empty means a small
	// text.
	Input string
	// Version is the version of Layshaft to require; empty means that "go mod tidy" chooses.
	Version string
	// Replace is a checkout of Layshaft to use instead of a release; empty means none.
	Replace string
}

const layshaft = "github.com/layshaft/layshaft"

//go:embed templates
var templates embed.FS

// view is what the templates see.
type view struct {
	Module
	Name   string // of the program
	Kind   string // csv, tsv, jsonl or text
	Args   string // argument of an example call
	Sample string // name of the sample in testdata
	Comma  rune   // between the cells of csv and tsv
	Fields []Field
	Group  *Field // column to count by; nil for text
	Sum    *Field // column to sum up; nil if no column has numbers
}

// Source returns the expression that reads the input.
func (v *view) Source() string {
	return map[string]string{"csv": "csvio.Rows[Row]", "tsv": "csvio.TSV[Row]", "jsonl": "jsonio.Rows[Row]", "text": "textio.Lines"}[v.Kind]
}

// Option returns what follows the source, such as .Comma(';').
func (v *view) Option() string {
	if v.Kind != "csv" || v.Comma == ',' {
		return ""
	}
	return fmt.Sprintf(".Comma(%q)", v.Comma)
}

// Package returns the package of the source.
func (v *view) Package() string {
	return map[string]string{"csv": "csvio", "tsv": "csvio", "jsonl": "jsonio", "text": "textio"}[v.Kind]
}

var goodName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

// Write writes the module and returns the names of its files. It writes nothing after an error in
// the arguments.
func (m Module) Write() ([]string, error) {
	v := &view{Module: m, Name: filepath.Base(m.Path)}
	if !goodName.MatchString(v.Name) {
		return nil, fmt.Errorf("module %q: its last element must begin with a letter and have letters, digits, dots, dashes and underscores", m.Path)
	}
	if entries, err := os.ReadDir(m.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s exists and is not empty", m.Dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	sample, err := v.look()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"testdata/" + v.Sample: sample}
	for _, name := range []string{"main.go", "main_test.go"} {
		if files[name], err = v.render(name); err != nil {
			return nil, err
		}
	}
	if err := m.addModule(files); err != nil {
		return nil, err
	}
	var names []string
	for _, name := range []string{"go.mod", "go.sum", "main.go", "main_test.go", "testdata/" + v.Sample} {
		if files[name] == nil {
			continue
		}
		path := filepath.Join(m.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return names, err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

// Argument returns the argument for the user's file in a call from the module's directory.
func (m Module) Argument() string {
	if m.Input == "" {
		return "testdata/sample.txt"
	}
	dir, err := filepath.Abs(m.Dir)
	if err == nil {
		if input, err := filepath.Abs(m.Input); err == nil {
			if relative, err := filepath.Rel(dir, input); err == nil {
				return filepath.ToSlash(relative)
			}
		}
	}
	return m.Input
}

// look reads the beginning of the input. It fills in the fields about it, and returns a sample.
func (v *view) look() ([]byte, error) {
	v.Args = v.Argument()
	if v.Input == "" {
		v.Kind, v.Sample = "text", "sample.txt"
		return []byte("the shaft turns the gear\nthe gear turns the wheel\n"), nil
	}
	head, err := head(v.Input)
	if err != nil {
		return nil, err
	}
	switch ext := filepath.Ext(strings.TrimSuffix(strings.ToLower(v.Input), ".gz")); ext {
	case ".csv", ".tsv":
		v.Kind = ext[1:]
		if v.Comma = '\t'; v.Kind == "csv" {
			v.Comma = separator(head)
		}
		v.Fields, err = csvFields(head, v.Comma)
	case ".jsonl", ".ndjson":
		v.Kind = "jsonl"
		v.Fields, err = jsonFields(head)
	default:
		v.Kind = "text"
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Input, err)
	}
	v.Sample = "sample." + cmp.Or(map[string]string{"text": "txt"}[v.Kind], v.Kind)
	v.Group, v.Sum = choose(v.Fields)
	return firstLines(head, 20, v.Comma), nil
}

// render fills in a template.
func (v *view) render(name string) ([]byte, error) {
	t, err := template.ParseFS(templates, "templates/"+name+".tmpl")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return nil, err
	}
	return format.Source(out.Bytes())
}

// addModule adds go.mod and, with a checkout, its go.sum, so that no module need be fetched.
func (m Module) addModule(files map[string][]byte) error {
	text := fmt.Sprintf("module %s\n\ngo 1.26\n", m.Path)
	if m.Version != "" {
		text += fmt.Sprintf("\nrequire %s %s\n", layshaft, m.Version)
	}
	if m.Replace != "" {
		dir, err := filepath.Abs(m.Replace)
		if err != nil {
			return err
		}
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil {
			return fmt.Errorf("%s is no checkout of Layshaft: %w", m.Replace, err)
		}
		first, rest, _ := strings.Cut(string(mod), "\n")
		if first != "module "+layshaft {
			return fmt.Errorf("%s is no checkout of Layshaft: its go.mod begins with %q", m.Replace, first)
		}
		// The module needs the same versions as the checkout, which this machine has.
		_, rest, _ = strings.Cut(rest, "require (")
		text = fmt.Sprintf("module %s\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n\nrequire (%s", m.Path, layshaft, layshaft, dir, rest)
		if files["go.sum"], err = os.ReadFile(filepath.Join(dir, "go.sum")); err != nil {
			return err
		}
	}
	files["go.mod"] = []byte(text)
	return nil
}
