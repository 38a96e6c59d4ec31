package sql

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// extensions are the forms that this dialect has and PostgreSQL has not. A statement that
// PostgreSQL refuses must have one of them. Forms that canonical SQL writes in another way are found
// in the tokens, the others in the tree.
var extensions = []struct {
	name string
	// at reports whether the form starts at token i; the tokens are in upper case.
	at   func(tokens []string, i int) bool
	tree func(n Node) bool
}{
	{name: "a path in FROM", tree: is(func(f *File) bool { return true })},
	{name: "FROM before SELECT", at: func(t []string, i int) bool {
		return t[i] == "FROM" && (i == 0 || one(t[i-1], "( ) UNION ALL DISTINCT EXCEPT INTERSECT EXPLAIN ANALYZE ANALYSE DESCRIBE DESC SUMMARIZE"))
	}},
	{name: "DESCRIBE", tree: is(func(*Describe) bool { return true })},
	{name: "SUMMARIZE", tree: is(func(*Summarize) bool { return true })},
	{name: "COPY file", at: func(t []string, i int) bool { return t[i] == "COPY" && t[i+1] != "(" }},
	{name: "UNION BY NAME", tree: is(func(s *SetOp) bool { return s.ByName })},
	{name: "QUALIFY", tree: is(func(s *Select) bool { return s.Qualify != nil })},
	{name: "GROUP BY ALL", tree: is(func(g *GroupBy) bool { return g.All })},
	{name: "ORDER BY ALL", tree: is(func(o *OrderItem) bool { return o.X == nil })},
	{name: "SEMI JOIN", tree: is(func(j *Join) bool { return j.Kind == SemiJoin })},
	{name: "ANTI JOIN", tree: is(func(j *Join) bool { return j.Kind == AntiJoin })},
	{name: "* EXCLUDE and REPLACE", tree: is(func(s *Star) bool { return s.Exclude != nil || s.Replace != nil })},
	{name: "VALUES without parentheses in FROM", at: func(t []string, i int) bool {
		return t[i] == "VALUES" && i > 0 && one(t[i-1], "FROM , JOIN")
	}},
	{name: "[a, b], and an index behind a call or a text", at: func(t []string, i int) bool {
		return t[i] == "[" && (i == 0 || !isWordByte(t[i-1][len(t[i-1])-1]) && !one(t[i-1], "]") || lookup(t[i-1]) != nil && t[i-1] != "ARRAY")
	}},
	{name: "a field behind a call", at: func(t []string, i int) bool { return t[i] == "." && i > 0 && one(t[i-1], ") }") }},
	{name: "{'a': 1}", tree: is(func(*Struct) bool { return true })},
	{name: "TRY_CAST", tree: is(func(c *Cast) bool { return c.Try })},
	{name: "struct and map types", tree: is(func(c *Cast) bool { return c.Type.Fields != nil })},
	{name: "INTERVAL 3 DAY", tree: is(func(i *Interval) bool { _, text := i.X.(*String); return !text })},
	{name: "INTERVAL (x) DAY", at: func(t []string, i int) bool { return t[i] == "INTERVAL" && t[i+1] == "(" }},
	{name: "json() with several arguments", at: func(t []string, i int) bool { return t[i] == "JSON" && t[i+1] == "(" }},
	{name: "INTERVAL '3' WEEK", tree: is(func(i *Interval) bool { return i.Unit != "" && !one(i.Unit, "year month day hour minute second") })},
	{name: "INTERVAL '3' DAYS", at: func(t []string, i int) bool { return one(t[i], "DAYS HOURS MONTHS YEARS MINUTES SECONDS") }},
	{name: "?", at: func(t []string, i int) bool { return t[i] == "?" }},
	{name: "$name", tree: is(func(p *Param) bool { return p.Name != "" })},
	{name: "IN ()", at: func(t []string, i int) bool { return t[i] == "IN" && t[i+1] == "(" && t[i+2] == ")" }},
	{name: "a NOT NULL", at: func(t []string, i int) bool {
		return t[i] == "NOT" && i > 0 && t[i-1] != "IS" && t[i+1] == "NULL"
	}},
	{name: "order and limits inside and outside of parentheses", tree: is(func(q *Query) bool { _, in := q.Body.(*Query); return in })},
	{name: "IGNORE NULLS", at: func(t []string, i int) bool {
		return one(t[i], "IGNORE RESPECT") && t[i+1] == "NULLS"
	}},
}

// one reports whether s is one of the words.
func one(s, words string) bool { return slices.Contains(strings.Fields(words), s) }

// is returns a function that reports whether a node has a type and a property.
func is[T Node](f func(T) bool) func(Node) bool {
	return func(n Node) bool {
		t, ok := n.(T)
		return ok && f(t)
	}
}

// extension returns the name of an extension that a statement has, or "".
func extension(text string, s Node) string {
	tokens := append(cut(text), "", "")
	for i, t := range tokens {
		tokens[i] = strings.ToUpper(t)
	}
	for _, e := range extensions {
		found := false
		for i := range len(tokens) - 2 {
			found = found || e.at != nil && e.at(tokens, i)
		}
		if e.tree != nil {
			Walk(s, func(n Node) bool { found = found || e.tree(n); return !found })
		}
		if found {
			return e.name
		}
	}
	return ""
}

// The parser of PostgreSQL accepts what this one accepts, but for the extensions: known statements,
// their canonical form, each of their items alone, and splices of them.
func TestPostgreSQLAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if exec.Command(python, "-c", "import pglast").Run() != nil {
		t.Skip("the Python package pglast, the parser of PostgreSQL, is not installed: pip install pglast")
	}
	texts := statements(t)
	tokens := tokenTexts(t)
	for seed := range uint64(5000) {
		texts = append(texts, splice(rand.New(rand.NewPCG(seed, 1)), tokens))
	}
	var accepted []string
	for _, text := range texts {
		s, err := Parse(text)
		if err != nil {
			continue
		}
		accepted = append(accepted, strings.TrimPrefix(text, byteOrderMark), Format(s))
		if q, ok := s.(*Query); ok {
			if sel, ok := q.Body.(*Select); ok {
				for _, it := range sel.Items {
					accepted = append(accepted, "SELECT "+Format(it))
				}
			}
		}
	}
	cmd := exec.Command(python, "testdata/oracle.py")
	cmd.Stdin = strings.NewReader(strings.Join(accepted, "\x00") + "\x00")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("oracle.py: %v\n%s", err, stderr.String())
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(accepted) {
		t.Fatalf("oracle.py answers %d of %d statements", len(answers), len(accepted))
	}
	agreed := 0
	for i, text := range accepted {
		if answers[i] == "ok" {
			agreed++
			continue
		}
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%s\nparses once only: %v", text, err)
		} else if extension(text, s) == "" {
			t.Errorf("PostgreSQL refuses %q\n%s", text, answers[i])
		}
	}
	t.Logf("%d of %d statements are accepted by both, the others have an extension", agreed, len(accepted))
}
