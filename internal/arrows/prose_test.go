package arrows

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// width is the number of columns that comments and documents are wrapped at. A tab counts as four.
const width = 100

var (
	word = regexp.MustCompile(`[A-Za-z][A-Za-z']*`)
	// clause matches words that begin a relative clause.
	clause = regexp.MustCompile(`(?i)\b(that|which|what|who|whose|whom|whoever|whatever)\b`)
	// person matches verbs for people. Values and methods do not speak, hear or know.
	person = regexp.MustCompile(`(?i)\b(says?|said|tells?|told|hears?|heard|knows?|sees? to|goes on|go on|went on|lets? go|asks?|wants?|gives? up|speaks?)\b`)
	// pointing matches phrases that point at a thing in place of its name.
	pointing = regexp.MustCompile(`(?i)\b(those who|those of|that of|those that|be it|any more|for ever|is told|are told|hears that|it is whose|one that is|such as are)\b`)
)

const (
	maxClauses = 2.0 // per 100 words of comments
	maxPersons = 2.0 // per 1,000 words
)

// TestCommentsArePlain checks the comments of all files but tests and generated ones: their width,
// and how often they point at things or treat values as people. CONTRIBUTING.md explains why.
func TestCommentsArePlain(t *testing.T) {
	words, clauses, persons := 0, 0, 0
	for _, path := range goFiles(t) {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(src), "\n")
		for _, c := range comments(src) {
			words += len(word.FindAllString(c.text, -1))
			clauses += len(clause.FindAllString(c.text, -1))
			persons += len(person.FindAllString(c.text, -1))
			if found := pointing.FindString(c.text); found != "" {
				t.Errorf("%s:%d: %q points at a thing: name the thing", path, c.line, found)
			}
			line := lines[c.line-1]
			alone := strings.HasPrefix(strings.TrimSpace(line), "//")
			if strings.HasPrefix(c.text, "\t") {
				continue // an example in code
			}
			if n := columns(line); alone && n > width {
				t.Errorf("%s:%d: the comment is %d columns wide: wrap it at %d", path, c.line, n, width)
			}
			if n := utf8.RuneCountInString(c.text); !alone && n > width-3 {
				t.Errorf("%s:%d: the comment has %d characters: put it above its line", path, c.line, n)
			}
		}
	}
	if words < 10_000 {
		t.Fatalf("only %d words of comments were found", words)
	}
	if d := 100 * float64(clauses) / float64(words); d > maxClauses {
		t.Errorf("%.2f words such as that, which and who per 100 words of comments; at most %v", d, maxClauses)
	}
	if d := 1000 * float64(persons) / float64(words); d > maxPersons {
		t.Errorf("%.2f verbs such as says, knows and hears per 1,000 words of comments; at most %v", d, maxPersons)
	}
}

// TestNamesAreDocumented checks the share of exported names, and of exported fields, with a comment.
// The methods of fmt.Stringer and of errors need none.
func TestNamesAreDocumented(t *testing.T) {
	var names, fields share
	for _, path := range goFiles(t) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv) && !wellKnown[d.Name.Name]) {
					names.add(d.Doc != nil)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							names.add(d.Doc != nil || s.Doc != nil || s.Comment != nil)
						}
						if st, ok := s.Type.(*ast.StructType); ok && s.Name.IsExported() {
							countFields(st, d.Doc.Text()+s.Doc.Text(), &fields)
						}
					case *ast.ValueSpec:
						if s.Names[0].IsExported() {
							names.add(d.Doc != nil || s.Doc != nil || s.Comment != nil)
						}
					}
				}
			}
		}
	}
	if s := names.percent(); s < 99 {
		t.Errorf("%.1f %% of the exported names have a comment; at least 99", s)
	}
	if s := fields.percent(); s < 90 {
		t.Errorf("%.1f %% of the exported fields have a comment; at least 90", s)
	}
}

type share struct{ n, of int }

func (s *share) add(ok bool) {
	s.of++
	if ok {
		s.n++
	}
}

func (s *share) percent() float64 { return 100 * float64(s.n) / float64(s.of) }

// wellKnown are the methods that everybody knows.
var wellKnown = map[string]bool{"String": true, "Error": true, "Unwrap": true, "Is": true}

// countFields counts the exported fields of a struct. A comment above a field covers the fields
// below it until the next one with a comment. A field that doc, the comment of the type, mentions
// is documented too.
func countFields(st *ast.StructType, doc string, fields *share) {
	covered := false
	for _, f := range st.Fields.List {
		own := f.Doc != nil || f.Comment != nil
		if own {
			covered = f.Doc != nil
		}
		for _, name := range f.Names {
			if name.IsExported() {
				fields.add(own || covered || mentions(doc, name.Name))
			}
		}
	}
}

// mentions reports whether a text has a word, in any case.
func mentions(text, name string) bool {
	return slices.ContainsFunc(word.FindAllString(text, -1), func(w string) bool {
		return strings.EqualFold(w, name) || strings.EqualFold(w, name+"s")
	})
}

func exportedReceiver(recv *ast.FieldList) bool {
	typ := recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

type comment struct {
	line int
	text string
}

// comments returns the lines of the comments of a Go file, without directives.
func comments(src []byte) (out []comment) {
	set := token.NewFileSet()
	file := set.AddFile("", set.Base(), len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, scanner.ScanComments)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return out
		}
		text, ok := strings.CutPrefix(lit, "//")
		if tok != token.COMMENT || !ok || strings.HasPrefix(text, "go:") || strings.HasPrefix(text, "nolint") {
			continue
		}
		out = append(out, comment{file.Line(pos), strings.TrimPrefix(text, " ")})
	}
}

func columns(line string) int {
	return utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
}

// goFiles returns the Go files that git tracks and that are neither tests nor generated.
func goFiles(t *testing.T) (paths []string) {
	t.Helper()
	for _, path := range sources(t, root, false) {
		if !strings.HasSuffix(path, ".pb.go") && !strings.Contains(path, "/testdata/") {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestDocumentsArePlain checks all documents: no line over 100 columns outside tables and code, no
// sentence over 30 words, no table cell over 40 words.
func TestDocumentsArePlain(t *testing.T) {
	list, err := exec.Command("git", "-C", root, "ls-files", "*.md").Output()
	if err != nil {
		t.Skipf("git does not list the documents: %v; run in a checkout", err)
	}
	for _, name := range strings.Fields(string(list)) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("This page is made from the code")) {
			continue // TestReference writes it
		}
		for _, p := range faults(string(text)) {
			t.Errorf("%s: %s", name, p)
		}
	}
}
