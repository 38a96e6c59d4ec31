// Command site renders the documents of the repository as a static site: one page for each, with a
// list of all pages and a search. The pages need no server and no network.
//
//	go run ./tools/site dist/site
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// source is where links to other files of the repository lead.
const source = "https://github.com/layshaft/layshaft/blob/main/"

// files are the documents in the order of the list.
var files = []string{
	"README.md", "docs/tutorial.md", "docs/concepts.md", "docs/cookbook.md", "docs/reports.md", "docs/tasks.md",
	"docs/schedules.md", "docs/workflows.md", "docs/languages.md",
	"docs/catalogue.md", "docs/cluster.md", "docs/operating.md", "docs/troubleshooting.md", "docs/coming-from.md",
	"docs/reference.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md", "CHANGELOG.md",
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is a rendered document.
type page struct {
	File, Out, Title string
	Body             template.HTML
}

// section is a part of a page below one title, for the search.
type section struct {
	Out   string `json:"p"`
	Page  string `json:"t"`
	Title string `json:"h"`
	ID    string `json:"i"`
	Text  string `json:"x"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: site DIR")
		os.Exit(2)
	}
	if err := build(".", os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

// build renders the documents below root into dir.
func build(root, dir string) error {
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	var pages []page
	index := []section{}
	for _, file := range files {
		code, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return err
		}
		p := page{File: file, Out: outName(file)}
		doc := md.Parser().Parse(text.NewReader(code))
		sections := prepare(doc, code, file)
		p.Title = sections[0].Title
		for i := range sections {
			sections[i].Out, sections[i].Page = p.Out, p.Title
		}
		index = append(index, sections...)
		var out bytes.Buffer
		if err := md.Renderer().Render(&out, code, doc); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		p.Body = template.HTML(out.String()) // the documents are ours
		pages = append(pages, p)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, "pictures"), os.DirFS(filepath.Join(root, "docs", "pictures"))); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.js"), append([]byte("const sections = "), data...), 0o644); err != nil {
		return err
	}
	for i := range pages {
		var out bytes.Buffer
		if err := pageTemplate.Execute(&out, map[string]any{"Pages": pages, "Page": &pages[i]}); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, pages[i].Out), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// outName returns the name of the page of a document.
func outName(file string) string {
	if file == "README.md" {
		return "index.html"
	}
	name := strings.TrimSuffix(strings.ToLower(file), ".md") + ".html"
	return strings.ReplaceAll(strings.TrimPrefix(name, "docs/"), "/", "-")
}

// prepare turns links to documents into links to pages, and returns the sections of a document.
func prepare(doc ast.Node, code []byte, file string) []section {
	pages := map[string]bool{}
	for _, f := range files {
		pages[f] = true
	}
	sections := []section{{Title: file}}
	first := true
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			id, _ := n.AttributeString("id")
			s := section{Title: plainText(n, code), ID: string(id.([]byte))}
			if first {
				sections, first = sections[:0], false
			}
			sections = append(sections, s)
			return ast.WalkSkipChildren, nil
		case *ast.Image:
			n.Destination = []byte("pictures/" + path.Base(string(n.Destination)))
		case *ast.Link:
			n.Destination = []byte(target(string(n.Destination), file, pages))
		case *ast.Text:
			s := &sections[len(sections)-1]
			s.Text += string(n.Segment.Value(code)) + " "
		case *ast.FencedCodeBlock:
			s := &sections[len(sections)-1]
			s.Text += string(n.Lines().Value(code)) + " "
		}
		return ast.WalkContinue, nil
	})
	return sections
}

// target returns the target of a link on the site.
func target(link, file string, pages map[string]bool) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "#") || strings.HasPrefix(link, "mailto:") {
		return link
	}
	to, anchor, found := strings.Cut(link, "#")
	to = path.Join(path.Dir(file), to)
	if !pages[to] {
		return source + to
	}
	if found {
		return outName(to) + "#" + anchor
	}
	return outName(to)
}

// plainText returns the text of a node.
func plainText(n ast.Node, code []byte) string {
	var out strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			out.Write(t.Segment.Value(code))
		}
		return ast.WalkContinue, nil
	})
	return out.String()
}
