// Command sbom prints the bill of materials of Go programs, as CycloneDX 1.5 in JSON. It reads what
// the linker wrote into them, so it names exactly the linked modules. Equal programs give equal
// bytes.
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: sbom PROGRAM...")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(programs []string) error {
	found := map[string]component{}
	var root component
	for _, path := range programs {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return err
		}
		root = of("application", &info.Main)
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			c := of("library", m)
			found[c.Ref] = c
		}
		std := of("library", &debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")})
		found[std.Ref] = std
	}
	components := []component{}
	for _, c := range found {
		components = append(components, c)
	}
	slices.SortFunc(components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata": map[string]any{"component": root}, "components": components,
	})
}

func of(kind string, m *debug.Module) component {
	purl := "pkg:golang/" + m.Path + "@" + m.Version
	return component{kind, purl, m.Path, m.Version, purl}
}
