package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/cmd/layshaft/internal/manual"
	"github.com/layshaft/layshaft/mapreduce"
)

const referencePath = "../../docs/reference.md"

// TestReference compares docs/reference.md with the grammar, the flags of pipeline programs, the
// metrics and the errors in the code. -update writes it.
func TestReference(t *testing.T) {
	var out strings.Builder
	out.WriteString("# Reference\n\nThis page is made from the code: `go test ./cmd/layshaft -run TestReference -update`.\n\n" +
		"- [Flags of pipeline programs](#flags-of-pipeline-programs)\n- [Commands](#commands)\n- [Exit codes](#exit-codes)\n- [Metrics](#metrics)\n- [Errors](#errors)\n\n" +
		"## Flags of pipeline programs\n\nA program that calls `mapreduce.Flags` has these flags. Each has an environment variable, such as\n`LAYSHAFT_STATE`.\n\n| | |\n|---|---|\n")
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	mapreduce.Flags(fs)
	fs.VisitAll(func(f *flag.Flag) {
		value, help := flag.UnquoteUsage(f)
		fmt.Fprintf(&out, "| `%s` | %s |\n", strings.TrimSpace("-"+f.Name+" "+value), tableText(help))
	})
	out.WriteString("\n## Commands\n\nA flag is given on the command line with one dash or two. It may also be an environment variable, such\nas `LAYSHAFT_DATA`, or a line `data = DIR` in the file of `-config`.\n\n")
	out.WriteString(manual.Of(newParser(new(cli)).Model).Markdown())
	out.WriteString("## Exit codes\n\n| code | meaning |\n|---|---|\n")
	codes := regexp.MustCompile(`(?s)Exit codes: (.*)\.$`).FindStringSubmatch(description)
	for _, line := range strings.Split(strings.ReplaceAll(codes[1], "\n", " "), ", ") {
		if code, meaning, ok := strings.Cut(line, " "); ok && isNumber(code) {
			fmt.Fprintf(&out, "| %s | %s |\n", code, meaning)
		} else { // a part of the meaning
			text := strings.TrimSuffix(out.String(), " |\n")
			out.Reset()
			fmt.Fprintf(&out, "%s, %s |\n", text, line)
		}
	}
	out.WriteString("\n## Metrics\n\nA coordinator with `-http` serves them at `/metrics`, and so does a worker. See\n[cluster.md](cluster.md#status-logs-and-metrics) for what to watch.\n\n| metric | labels | meaning |\n|---|---|---|\n")
	for _, m := range metrics(t) {
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", m.name, m.labels, tableText(m.help))
	}
	out.WriteString("\n## Errors\n\nTest them with `errors.Is`. They have the same identity on both ends of a connection.\n\n| error | meaning |\n|---|---|\n")
	for _, file := range []string{"../../tasks/errors.go", "../../mapreduce/cluster.go", "../../mapreduce/target.go"} {
		for _, e := range sentinels(t, file) {
			fmt.Fprintf(&out, "| `%s` | %s |\n", e[0], tableText(e[1]))
		}
	}
	got := []byte(out.String())
	if *update {
		if err := os.WriteFile(referencePath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/reference.md differs from the code; run go test ./cmd/layshaft -run TestReference -update:\n%s", firstDifference(string(got), string(want)))
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// tableText returns a text for a cell of a table.
func tableText(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`, "_", `\_`).Replace(strings.TrimSpace(s))
}

type metric struct{ name, labels, help string }

// metrics returns the metrics that the code declares.
func metrics(t *testing.T) (all []metric) {
	t.Helper()
	declared := regexp.MustCompile(`(?:desc\(|NewDesc\(|GaugeOpts{Name: )"([a-z_]+)",\s*(?:Help: )?"((?:[^"\\]|\\.)*)"(.*)\n`)
	for _, file := range []string{"../../coordinator/dashboard/metrics.go", "../../coordinator/dashboard/schedules.go", "internal/node/look.go", "internal/node/members.go", "internal/node/http.go"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range declared.FindAllStringSubmatch(string(code), -1) {
			var labels []string
			for _, l := range regexp.MustCompile(`"([a-z]+)"`).FindAllStringSubmatch(m[3], -1) {
				labels = append(labels, l[1])
			}
			all = append(all, metric{"layshaft_" + strings.TrimPrefix(m[1], "layshaft_"), strings.Join(labels, ", "), m[2]})
		}
	}
	slices.SortFunc(all, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	if len(all) < 20 {
		t.Fatalf("found %d metrics in the code; have they moved?", len(all))
	}
	return all
}

// sentinels returns the exported errors of a file with their comments.
func sentinels(t *testing.T, path string) (all [][2]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			doc := cmp.Or(v.Doc.Text(), g.Doc.Text())
			if name := v.Names[0].Name; strings.HasPrefix(name, "Err") && doc != "" {
				doc = strings.TrimPrefix(strings.TrimPrefix(doc, name+": "), name+" ")
				all = append(all, [2]string{file.Name.Name + "." + name, strings.NewReplacer("[", "", "]", "").Replace(doc)})
			}
		}
	}
	return all
}

// The completion of bash offers commands, flags and the choices of flags.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	root := manual.Of(newParser(new(cli)).Model)
	script, err := root.Completion("bash")
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"ver":                      "version",
		"task d":                   "do dead drop",
		"task do -inp":             "-input",
		"coordinator mem":          "members",
		"coordinator -log-level d": "debug",
		"coordinator -dat":         "-data",
	} {
		cmd := exec.Command(bash, "-c", script+`COMP_WORDS=(layshaft "$@"); COMP_CWORD=$#; _layshaft; echo "${COMPREPLY[@]}"`, "bash")
		cmd.Args = append(cmd.Args, strings.Fields(line)...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("layshaft %s: %q, %v, want %q", line, got, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if text, err := root.Completion(shell); err != nil || !strings.Contains(text, "reference") && !strings.Contains(text, "coordinator") {
			t.Errorf("%s: %v", shell, err)
		}
	}
	for name, page := range root.Man("v1") {
		if !strings.HasPrefix(page, `.TH "LAYSHAFT`) || !strings.Contains(page, ".SH SYNOPSIS\n") {
			t.Errorf("%s is no manual page:\n%s", name, page)
		}
	}
}
