// Package docs checks the documents: their links lead somewhere, and their recipes are examples that
// the tests of other packages run.
package docs

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/layshaft/layshaft/report"
)

var update = flag.Bool("update", false, "rewrite the recipes of cookbook.md from the examples")

const root = ".."

// A recipe is a marker and the code of the example that it names.
var recipe = regexp.MustCompile("(?s)<!-- run: (\\S+) (\\w+) -->\n```go\n(.*?)```\n")

// TestCookbook compares the recipes with the examples in the code. An example has an output, so the
// tests of its package run it. -update writes the recipes.
func TestCookbook(t *testing.T) {
	page, err := os.ReadFile("cookbook.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	if n := strings.Count(text, "<!-- run:"); n < 25 || n != len(recipe.FindAllString(text, -1)) {
		t.Errorf("cookbook.md has %d recipes, %d of them with code after the marker; want 25 or more", n, len(recipe.FindAllString(text, -1)))
	}
	updated := recipe.ReplaceAllStringFunc(text, func(old string) string {
		m := recipe.FindStringSubmatch(old)
		code, err := example(filepath.Join(root, m[1]), m[2])
		if err != nil {
			t.Errorf("cookbook.md: %v", err)
			return old
		}
		if code != m[3] && !*update {
			t.Errorf("cookbook.md: the recipe %s is not what %s has; run go test ./docs -update", m[2], m[1])
		}
		return fmt.Sprintf("<!-- run: %s %s -->\n```go\n%s```\n", m[1], m[2], code)
	})
	if *update {
		if err := os.WriteFile("cookbook.md", []byte(updated), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// example returns the body of an example function.
func example(path, name string) (string, error) {
	code, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, code, parser.ParseComments)
	if err != nil {
		return "", err
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != name {
			continue
		}
		body := code[files.Position(f.Body.Lbrace).Offset+1 : files.Position(f.Body.Rbrace).Offset]
		if !bytes.Contains(body, []byte("// Output:")) && !bytes.Contains(body, []byte("// Unordered output:")) {
			return "", fmt.Errorf("%s in %s has no output, so no test runs it", name, path)
		}
		out, err := format.Source(bytes.ReplaceAll(body, []byte("\n\t"), []byte("\n")))
		return strings.TrimSpace(string(out)) + "\n", err
	}
	return "", fmt.Errorf("%s has no %s", path, name)
}

var functionList = regexp.MustCompile("(?s)<!-- functions -->\n.*?<!-- end of functions -->")

// TestFunctions checks that reports.md lists the functions of the dialect.
func TestFunctions(t *testing.T) {
	page, err := os.ReadFile("reports.md")
	if err != nil {
		t.Fatal(err)
	}
	list, kind := "<!-- functions -->\n", ""
	for _, f := range report.Functions() {
		if f.Kind != kind {
			kind = f.Kind
			list += "\n" + kind + ":\n"
		}
		list += " " + f.Name + "\n"
	}
	updated := functionList.ReplaceAllLiteralString(string(page), strings.Replace(list, "\n", "\n```", 1)+"```\n<!-- end of functions -->")
	if !*update {
		if updated != string(page) {
			t.Error("the list of functions in reports.md is old; run go test ./docs -update")
		}
		return
	}
	if err := os.WriteFile("reports.md", []byte(updated), 0o644); err != nil {
		t.Fatal(err)
	}
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```")

// TestSnippets checks that the Go code of all documents is Go, apart from what "..." stands for.
// The recipes of cookbook.md, and the programs of languages.md, are compiled and run elsewhere.
func TestSnippets(t *testing.T) {
	for _, pattern := range []string{"*.md", "../*.md", "../*/README.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			page, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range goBlock.FindAllStringSubmatch(string(page), -1) {
				code := strings.NewReplacer("{ ... }", "{}", "{ … }", "{}", ", ...)", ")", "\t...\n", "").Replace(m[1])
				if _, err := format.Source([]byte(code)); err != nil {
					t.Errorf("%s: %v in\n%s", name, err, m[1])
				}
			}
		}
	}
}

var (
	fence  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	inCode = regexp.MustCompile("`[^`\n]*`")
	link   = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	title  = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestLinks checks that each link of a document to a file of the repository, or to a title, leads
// there.
func TestLinks(t *testing.T) {
	list, err := exec.Command("git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Skipf("git does not list the documents: %v; run in a checkout", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		for _, m := range link.FindAllStringSubmatch(prose(t, filepath.Join(root, name)), -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(target, "#")
			file := filepath.Join(root, name)
			if path != "" {
				file = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, target)
			} else if anchor != "" && strings.HasSuffix(file, ".md") && !anchors(t, file)[anchor] {
				t.Errorf("%s: %s has no title for the link %s", name, filepath.Base(file), target)
			}
		}
	}
}

// prose returns a document without its code.
func prose(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return inCode.ReplaceAllString(fence.ReplaceAllString(string(text), ""), "")
}

// anchors returns the anchors of the titles of a document, as GitHub makes them.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, m := range title.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
		out[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return out
}

// A message in troubleshooting.md begins a section as a title in code.
var symptom = regexp.MustCompile("(?m)^### `(.*)`$")

// TestSymptoms checks that the code still has the messages in troubleshooting.md.
func TestSymptoms(t *testing.T) {
	page, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	found := symptom.FindAllStringSubmatch(string(page), -1)
	if len(found) < 10 {
		t.Errorf("troubleshooting.md has %d messages, want 10 or more", len(found))
	}
	for _, m := range found {
		if err := exec.Command("git", "-C", root, "grep", "-qF", "--", m[1], "*.go", ":!*_test.go").Run(); err != nil {
			t.Errorf("troubleshooting.md: no program prints %q any more", m[1])
		}
	}
}

// TestPictures checks that pictures are small, have a description, follow the theme of the reader,
// and request nothing from elsewhere.
func TestPictures(t *testing.T) {
	names, err := filepath.Glob("pictures/*")
	if err != nil || len(names) < 5 {
		t.Fatalf("pictures %q, %v", names, err)
	}
	pages := prose(t, "concepts.md") + prose(t, "workflows.md") + prose(t, filepath.Join(root, "README.md"))
	for _, name := range names {
		picture, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for _, want := range []string{"<title", "<desc", "prefers-color-scheme: dark", "viewBox"} {
			if !bytes.Contains(picture, []byte(want)) {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if m := regexp.MustCompile(`<svg [^>]*width="(\d{1,3})"`).FindSubmatch(picture); m == nil || string(m[1]) > "800" {
			t.Errorf("%s is wider than the text of a page, 800 pixels", name)
		}
		if m := regexp.MustCompile(`<script|<image|href=|@import|url\([^#]`).Find(picture); m != nil || len(picture) > 16<<10 {
			t.Errorf("%s: %q, %d bytes", name, m, len(picture))
		}
		if !strings.Contains(pages, name) {
			t.Errorf("no document shows %s", name)
		}
	}
}
