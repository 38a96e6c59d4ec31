package sql

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// nest writes a statement with n levels of something inside itself.
func nest(before string, open, inner, close string, after string, n int) string {
	return before + strings.Repeat(open, n) + inner + strings.Repeat(close, n) + after
}

// Everything that can stand inside itself is bounded: 200 levels are fine, 10,000 are refused.
func TestNesting(t *testing.T) {
	for _, c := range [][5]string{
		{"SELECT ", "(", "1", ")", ""},
		{"SELECT ", "NOT ", "a", "", ""},
		{"SELECT ", "- ", "1", "", ""},
		{"SELECT ", "+", "1", "", ""},
		{"SELECT ", "~ ", "1", "", ""},
		{"SELECT ", "a * ( b + ", "1", ")", ""},
		{"SELECT ", "a AND (b OR ", "c", ")", ""},
		{"SELECT ", "f(", "1", ")", ""},
		{"SELECT ", "trim(", "1", ")", ""},
		{"SELECT ", "substring(x FROM ", "1", ")", ""},
		{"SELECT ", "position('a' IN ", "1", ")", ""},
		{"SELECT ", "extract(year FROM ", "1", ")", ""},
		{"SELECT ", "[", "1", "]", ""},
		{"SELECT ", "ARRAY[", "1", "]", ""},
		{"SELECT ", "{'a': ", "1", "}", ""},
		{"SELECT ", "a[", "1", "]", ""},
		{"SELECT ", "a[:", "1", "]", ""},
		{"SELECT ", "ROW(", "1", ")", ""},
		{"SELECT ", "(1, ", "1", ")", ""},
		{"SELECT ", "CASE WHEN ", "1", " THEN 1 END", ""},
		{"SELECT ", "CASE ", "1", " WHEN 2 THEN 1 END", ""},
		{"SELECT ", "CASE WHEN a THEN 1 ELSE ", "1", " END", ""},
		{"SELECT ", "CAST(", "1", " AS int)", ""},
		{"SELECT ", "INTERVAL (", "1", ") DAY", ""},
		{"SELECT ", "a IN (", "1", ")", ""},
		{"SELECT ", "a IN (1, ", "1", ")", ""},
		{"SELECT ", "a LIKE (", "1", ")", ""},
		{"SELECT ", "a BETWEEN 1 AND (", "1", ")", ""},
		{"SELECT ", "a = ANY (", "1", ")", ""},
		{"SELECT ", "(SELECT ", "1", ")", ""},
		{"SELECT ", "EXISTS (SELECT ", "1", ")", ""},
		{"SELECT ", "a IN (SELECT ", "1", ")", ""},
		{"SELECT ", "sum(a) FILTER (WHERE ", "1", ")", ""},
		{"SELECT ", "sum(a) OVER (ORDER BY ", "1", ")", ""},
		{"SELECT ", "f(a ORDER BY ", "1", ")", ""},
		{"SELECT ", "f(a) WITHIN GROUP (ORDER BY ", "1", ")", ""},
		{"SELECT a::", "struct(x ", "int", ")", ""},
		{"SELECT a::", "map(int, ", "int", ")", ""},
		{"SELECT * REPLACE (", "(", "1", ")", " AS a) FROM t"},
		{"SELECT * FROM ", "(SELECT * FROM ", "t", ")", ""},
		{"", "FROM (", "FROM t", ")", ""},
		{"SELECT * FROM ", "(", "a CROSS JOIN b", ")", ""},
		{"SELECT * FROM ", "(a CROSS JOIN ", "b", ")", ""},
		{"SELECT * FROM ", "(", "SELECT 1", ")", ""},
		{"SELECT * FROM f(", "g(", "1", ")", ")"},
		{"", "(", "SELECT 1", ")", ""},
		{"", "(SELECT 1 UNION ", "SELECT 1", ")", ""},
		{"", "SELECT 1 UNION (", "SELECT 1", ")", ""},
		{"", "WITH a AS (", "SELECT 1", ") SELECT 1", ""},
		{"EXPLAIN ", "(", "SELECT 1", ")", ""},
		{"DESCRIBE ", "(", "SELECT 1", ")", ""},
		{"COPY (", "(", "SELECT 1", ")", ") TO 'x'"},
		{"SELECT a GROUP BY ", "GROUPING SETS (", "a", ")", ""},
		{"SELECT a GROUP BY ", "(1, ", "a", ")", ""},
		{"SELECT a LIMIT ", "(", "1", ")", ""},
	} {
		few := nest(c[0], c[1], c[2], c[3], c[4], 200)
		s, err := Parse(few)
		if err != nil {
			t.Errorf("200 levels of %q: %v", c[1], err)
			continue
		}
		checkRoundTrip(t, few, s)
		many := nest(c[0], c[1], c[2], c[3], c[4], 10_000)
		if _, err := Parse(many); err == nil || !strings.Contains(err.Error(), "nested too deep") {
			t.Errorf("10,000 levels of %q: %v", c[1], err)
		}
		if _, err := Parse(many[:len(many)/2]); err == nil {
			t.Errorf("half a statement with 10,000 levels of %q is accepted", c[1])
		}
	}
}

// A chain of operators makes a tree as deep as the chain is long, unless it is one node.
func TestChains(t *testing.T) {
	length := 100_000
	if testing.Short() {
		length = 20_000
	}
	for _, c := range []struct {
		first, next string
		endless     bool
	}{
		{"SELECT a", " OR a", true},
		{"SELECT a", " AND a", true},
		{"SELECT a", " OR a AND b", true},
		{"SELECT a", ", a", true},
		{"SELECT a FROM t", ", t", true},
		{"SELECT a", " + a", false},
		{"SELECT a", " || a", false},
		{"SELECT a", " -> 'a'", false},
		{"SELECT a", " * a - b", false},
		{"SELECT (a", ") + (a) + (a", false},
		{"SELECT a", "::int", false},
		{"SELECT a", "[1]", false},
		{"SELECT a", "[1:2]", false},
		{"SELECT (a)", ".b", false},
		{"SELECT a", ".b", false},
		{"SELECT a", " AT TIME ZONE 'UTC'", false},
		{"SELECT 1", " UNION ALL SELECT 1", false},
		{"SELECT 1", " EXCEPT (SELECT 1)", false},
		{"SELECT 1", " INTERSECT SELECT 1", false},
		{"SELECT * FROM t", " CROSS JOIN t", false},
		{"SELECT * FROM t", " JOIN t ON true", false},
	} {
		few := c.first + strings.Repeat(c.next, 2_000)
		if !strings.HasSuffix(c.next, "(a") {
			s, err := Parse(few)
			if err != nil {
				t.Errorf("2,000 of %q: %v", c.next, err)
				continue
			}
			checkRoundTrip(t, few, s)
		}
		many := c.first + strings.Repeat(c.next, length)
		if strings.HasSuffix(c.next, "(a") {
			many += ")"
		}
		s, err := Parse(many)
		switch {
		case c.endless && err != nil:
			t.Errorf("%d of %q: %v", length, c.next, err)
		case c.endless:
			nodes := 0
			Walk(s, func(Node) bool { nodes++; return true })
			if nodes < length {
				t.Errorf("%q: Walk visits %d nodes", c.next, nodes)
			}
		case err == nil || !strings.Contains(err.Error(), "too many operators in a row"):
			t.Errorf("%d of %q: %v", length, c.next, err)
		}
	}
	// Chains inside one another add up.
	sum := "a" + strings.Repeat(" + a", 900)
	if _, err := Parse(nest("SELECT ", "(", sum, strings.TrimPrefix(sum, "a")+")", "", 20)); err == nil {
		t.Error("20 sums of 900 terms inside one another are accepted")
	}
	if _, err := Parse("SELECT " + strings.TrimSuffix(strings.Repeat(sum+", ", 20), ", ")); err != nil {
		t.Errorf("20 sums of 900 terms beside one another: %v", err)
	}
}

// Long statements are read, however long.
func TestLongStatements(t *testing.T) {
	for _, c := range []struct {
		name, text string
	}{
		{"10,000 columns", "SELECT " + strings.TrimSuffix(strings.Repeat("some_column_name, ", 10_000), ", ") + " FROM t"},
		{"a list of 50,000 numbers", "SELECT a IN (1" + strings.Repeat(", 12345", 50_000) + ")"},
		{"20,000 rows", "VALUES (1, 'a')" + strings.Repeat(", (1, 'a')", 20_000)},
		{"a text of 1 MB", "SELECT '" + strings.Repeat("it''s ", 1<<18) + "'"},
		{"a name of 1 MB", `SELECT "` + strings.Repeat("x", 1<<20) + `"`},
		{"a number of 1 MB", "SELECT " + strings.Repeat("9", 1<<20)},
		{"a comment of 1 MB", "SELECT /*" + strings.Repeat("*/ /* ", 1<<18) + "*/ 1"},
		{"1 MB of space", "SELECT" + strings.Repeat(" \n", 1<<19) + "1"},
		{"a path of 1 MB", "SELECT * FROM a/" + strings.Repeat("b/*", 1<<18)},
		{"50,000 paths", "SELECT * FROM a/*.csv" + strings.Repeat(", a/*.csv", 50_000)},
	} {
		s, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		checkRoundTrip(t, c.text, s)
	}
	for name, text := range map[string]string{
		"1 MB of open comments":    "SELECT " + strings.Repeat("/*", 1<<19),
		"1 MB of quotes":           "SELECT " + strings.Repeat("'", 1<<20-1),
		"1 MB of signs":            "SELECT " + strings.Repeat("=", 1<<20),
		"1 MB on one line":         "SELECT " + strings.Repeat("a, ", 1<<19) + "b c d e",
		"a hexadecimal of 1 MB":    "SELECT 0x" + strings.Repeat("F", 1<<20),
		"paths like comments":      "SELECT * FROM " + strings.Repeat("a/*b,", 1<<17),
		"paths like more comments": "SELECT * FROM " + strings.Repeat("a/* , ", 1<<17) + "*/ +",
		"paths from the root":      "SELECT * FROM " + strings.Repeat("/*a, ", 1<<17) + "*/",
		"paths like numbers":       "SELECT * FROM " + strings.Repeat("1a/b, ", 1<<17),
		"paths like dollars":       "SELECT * FROM " + strings.Repeat("$a$b/, ", 1<<17),
	} {
		_, err := Parse(text)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		checkError(t, text, err)
	}
}

// splice returns a statement of pieces of others: tokens dropped, doubled, swapped, replaced, and
// the end of another statement.
func splice(r *rand.Rand, tokens [][]string) string {
	s := append([]string(nil), tokens[r.IntN(len(tokens))]...)
	any := func() string {
		for {
			if x := tokens[r.IntN(len(tokens))]; len(x) > 0 {
				return x[r.IntN(len(x))]
			}
		}
	}
	for range 1 + r.IntN(4) {
		if len(s) < 2 {
			break
		}
		i := r.IntN(len(s) - 1)
		switch r.IntN(7) {
		case 0:
			s = append(s[:i:i], s[i+1:]...)
		case 1:
			s = append(s[:i+1:i+1], s[i:]...)
		case 2:
			s[i], s[i+1] = s[i+1], s[i]
		case 3:
			s[i] = any()
		case 4:
			s = append(s[:i:i], append([]string{any()}, s[i:]...)...)
		case 5:
			other := tokens[r.IntN(len(tokens))]
			s = append(s[:i:i], other[r.IntN(len(other)+1):]...)
		case 6:
			j := i + r.IntN(len(s)-i)
			s = append(s[:j:j], append([]string{")"}, s[j:]...)...)
			s = append(s[:i:i], append([]string{"("}, s[i:]...)...)
		}
	}
	return strings.Join(s, []string{" ", " ", "\n", ""}[r.IntN(4)])
}

// tokenTexts cuts the statements of the scripts into the texts of their tokens.
func tokenTexts(t testing.TB) (out [][]string) {
	for _, s := range statements(t) {
		if tokens := cut(s); len(tokens) > 0 {
			out = append(out, tokens)
		}
	}
	return out
}

// cut returns the texts of the tokens of a statement, up to one that is none.
func cut(s string) (texts []string) {
	l := lexer{src: s}
	for {
		tok := l.next()
		if tok.kind == end || tok.kind == bad {
			return texts
		}
		texts = append(texts, s[tok.off:tok.end])
	}
}

func TestSplices(t *testing.T) {
	tokens := tokenTexts(t)
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		text := splice(r, tokens)
		s, err := Parse(text)
		if err != nil {
			checkError(t, text, err)
		} else {
			checkRoundTrip(t, text, s)
		}
		if t.Failed() {
			t.Fatal(fmt.Sprint("seed=", seed, ": ", text))
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"typical", `SELECT category, count(*) AS n, sum(price*stock) AS value, count(DISTINCT brand), approx_quantile(price, 0.95)
FROM "catalog/**/*.jsonl.zst" WHERE rating >= 4 GROUP BY category HAVING n > 100 ORDER BY value DESC LIMIT 20`},
		{"columns=10000", "SELECT " + strings.TrimSuffix(strings.Repeat("some_column_name, ", 10_000), ", ") + " FROM t"},
		{"or=100000", "SELECT a" + strings.Repeat(" OR b = 1", 100_000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(c.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
