package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// All documents are on the site, and all links between pages lead to a title that exists.
func TestSite(t *testing.T) {
	dir := t.TempDir()
	if err := build("../..", dir); err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents {
		if !strings.Contains(strings.Join(files, " "), "docs/"+filepath.Base(d)) {
			t.Errorf("docs/%s is missing in the list of the site", filepath.Base(d))
		}
	}
	pages := map[string]string{}
	for _, f := range files {
		html, err := os.ReadFile(filepath.Join(dir, outName(f)))
		if err != nil {
			t.Fatal(err)
		}
		pages[outName(f)] = string(html)
	}
	link := regexp.MustCompile(`href="([^":]*)"`)
	for name, html := range pages {
		for _, m := range link.FindAllStringSubmatch(html, -1) {
			page, anchor, _ := strings.Cut(m[1], "#")
			if page == "" {
				page = name
			}
			switch target, ok := pages[page]; {
			case !ok:
				t.Errorf("%s: the link %s leads to no page", name, m[1])
			case anchor != "" && !strings.Contains(target, `id="`+anchor+`"`):
				t.Errorf("%s: %s has no title for the link %s", name, page, m[1])
			}
		}
	}
	pictures := 0
	for name, html := range pages {
		if !strings.Contains(html, "img { max-width: 100%") {
			t.Errorf("%s: pictures do not fit a narrow screen", name)
		}
		for _, m := range regexp.MustCompile(`<img src="([^"]*)"`).FindAllStringSubmatch(html, -1) {
			pictures++
			if _, err := os.Stat(filepath.Join(dir, m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if pictures < 6 {
		t.Errorf("%d pictures on all pages", pictures)
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.js"))
	if err != nil || !strings.Contains(string(index), `"h":"Sessions by gap"`) {
		t.Errorf("the search does not have all titles: %v", err)
	}
}
