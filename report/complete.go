package report

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
)

// A token is a part of an unfinished statement: a word, text in quotes, or a sign. In FROM, words
// are paths, which may have slashes, stars and dots.
type token struct {
	text       string // without quotes
	start, end int    // with quotes
	quote      byte   // 0 for none
	clause     string // the keyword that the token belongs to, in upper case; "" at the start
}

// isKeyword reports whether a token is a bare word, in any case.
func (t token) isKeyword(word string) bool {
	return t.quote == 0 && strings.EqualFold(t.text, word)
}

// clauseWords begin a part of a statement.
var clauseWords = []string{"SELECT", "FROM", "JOIN", "WHERE", "GROUP", "HAVING", "QUALIFY", "WINDOW", "ORDER", "LIMIT", "ON", "USING", "WITH", "DESCRIBE", "SUMMARIZE", "COPY", "TO", "EXPLAIN"}

// readsFiles reports whether names of files follow a keyword.
func readsFiles(clause string) bool {
	return slices.Contains([]string{"FROM", "JOIN", "DESCRIBE", "SUMMARIZE", "TO"}, clause)
}

// scanTokens splits an unfinished statement. Comments are left out.
func scanTokens(text string) (tokens []token) {
	clauses := []string{""}
	for i := 0; i < len(text); {
		at := &clauses[len(clauses)-1]
		start, c := i, text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case strings.HasPrefix(text[i:], "--"):
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				return tokens
			}
			i += n
			continue
		case c == '\'' || c == '"':
			n := strings.IndexByte(text[i+1:], c)
			if n < 0 {
				return append(tokens, token{text[i+1:], i, len(text), c, *at})
			}
			i += n + 2
			tokens = append(tokens, token{text[start+1 : i-1], start, i, c, *at})
			continue
		case isWordByte(c) || readsFiles(*at) && isPathByte(c):
			for i < len(text) && (isWordByte(text[i]) || readsFiles(*at) && isPathByte(text[i])) {
				i++
			}
			word := strings.ToUpper(text[start:i])
			tokens = append(tokens, token{text[start:i], start, i, 0, *at})
			if slices.Contains(clauseWords, word) && (len(tokens) < 2 || tokens[len(tokens)-2].text != ".") {
				*at = word
			}
			continue
		case c == '(':
			clauses = append(clauses, *at)
		case c == ')' && len(clauses) > 1:
			clauses = clauses[:len(clauses)-1]
		case c == ';':
			*at = ""
		}
		i++
		tokens = append(tokens, token{text[start:i], start, i, 0, *at})
	}
	return tokens
}

func isWordByte(c byte) bool {
	return c == '_' || c == '.' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isPathByte(c byte) bool { return strings.IndexByte("/*-:~+%", c) >= 0 }

// Complete returns what may stand in the place of the word before a position of an unfinished
// statement, and where that word starts: columns of the files in FROM, functions, keywords, and
// files. It looks at samples of those files.
func (o Options) Complete(ctx context.Context, t mapreduce.Target, text string, pos int) (start int, words []string) {
	tokens := scanTokens(text)
	start, clause, quote, before := pos, "", byte(0), token{}
	for i, x := range tokens {
		if x.start >= pos {
			break
		}
		isText := x.quote != 0 || isWordByte(x.text[0]) || readsFiles(x.clause) && isPathByte(x.text[0])
		if x.end >= pos && isText && (x.quote == 0 || x.end > pos || text[x.end-1] != x.quote || x.end == x.start+1) {
			start, quote, clause = x.start, x.quote, x.clause
			if quote != 0 {
				start++
			}
			break
		}
		before, clause = x, x.clause
		if slices.Contains(clauseWords, strings.ToUpper(x.text)) && x.quote == 0 {
			clause = strings.ToUpper(x.text)
		}
		if x.text == "(" && i > 0 && strings.HasPrefix(strings.ToLower(tokens[i-1].text), "read_") {
			clause = "FROM"
		}
	}
	word := text[start:pos]
	var all []string
	add := func(list ...string) { all = append(all, list...) }
	afterFile := before.quote != 0 || before.text != "" && before.text != "," && before.text != "(" && !readsFiles(strings.ToUpper(before.text))
	switch {
	case readsFiles(clause) && (quote != 0 || !afterFile):
		add(filesLike(word)...)
		if quote == 0 && word != "" {
			for _, f := range []string{"csv", "json", "parquet", "avro", "text", "stanza", "log"} {
				add("read_" + f + "(")
			}
		}
	case quote == '\'':
		return start, nil
	case clause == "":
		add("SELECT", "FROM", "WITH", "COPY", "DESCRIBE", "EXPLAIN", "SUMMARIZE", "VALUES")
		if word != "" {
			add(filesLike(word)...)
		}
	default:
		columns := o.columnsOf(ctx, t, text, tokens)
		table, _, qualified := strings.Cut(word, ".")
		for _, c := range columns {
			if c.table != "" && qualified && strings.EqualFold(c.table, table) {
				add(table + "." + c.name)
			} else if !qualified {
				add(c.name)
			}
		}
		if quote != 0 || qualified {
			break
		}
		if word != "" || len(columns) == 0 {
			add("FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "QUALIFY", "LIMIT", "OFFSET", "JOIN", "LEFT JOIN", "AND", "OR", "NOT", "NULL", "AS", "DISTINCT",
				"CASE", "WHEN", "THEN", "ELSE", "END", "BETWEEN", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL", "EXISTS", "OVER (", "PARTITION BY", "FILTER (WHERE", "UNION ALL", "DESC", "NULLS LAST", "INTERVAL", "ROLLUP (", "CAST(")
		}
		for i, x := range tokens { // the names of the SELECT list
			if i > 0 && x.clause == "SELECT" && tokens[i-1].isKeyword("AS") && x.end != pos {
				add(x.text)
			}
		}
		if word != "" && !readsFiles(clause) {
			for _, name := range slices.Concat(aggr.Names(), aggr.WindowNames(), expr.Names()) {
				if isWordByte(name[0]) && !strings.ContainsAny(name, " ~") {
					add(name + "(")
				}
			}
		}
	}
	lower, upper := word != "" && word == strings.ToLower(word), word != "" && word == strings.ToUpper(word)
	all = slices.DeleteFunc(all, func(w string) bool { return len(w) < len(word) || !strings.EqualFold(w[:len(word)], word) })
	exact := upper && slices.ContainsFunc(all, func(w string) bool { return strings.HasPrefix(w, word) })
	for _, w := range all {
		if exact && !strings.HasPrefix(w, word) {
			continue // GRO is for GROUP BY, not group_concat
		}
		if lower && w == strings.ToUpper(w) && strings.ContainsAny(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && !isPathLike(w) {
			w = strings.ToLower(w)
		}
		words = append(words, w)
	}
	slices.Sort(words)
	return start, slices.Compact(words)
}

func isPathLike(w string) bool { return strings.ContainsAny(w, "./") }

// filesLike returns the files whose names begin with a word.
func filesLike(word string) (paths []string) {
	paths, _ = filepath.Glob(word + "*") // a word that is no pattern completes no file
	paths = slices.DeleteFunc(paths, func(p string) bool {
		return strings.HasPrefix(filepath.Base(p), ".") && !strings.HasPrefix(filepath.Base(word), ".")
	})
	for i, p := range paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			paths[i] += "/"
		}
	}
	return paths
}

// completion is a column that a statement can name.
type completion struct{ table, name string }

// columnsOf returns the columns of the tables that FROM and JOIN name.
func (o Options) columnsOf(ctx context.Context, t mapreduce.Target, text string, tokens []token) (all []completion) {
	for i := 0; i < len(tokens); i++ {
		x := tokens[i]
		if x.clause != "FROM" && x.clause != "JOIN" || slices.Contains(clauseWords, strings.ToUpper(x.text)) {
			continue
		}
		first := i > 0 && (tokens[i-1].isKeyword("FROM") || tokens[i-1].isKeyword("JOIN") || tokens[i-1].isKeyword(","))
		if !first || x.quote == 0 && !isWordByte(x.text[0]) && !isPathByte(x.text[0]) {
			continue
		}
		end := x.end
		if i+1 < len(tokens) && tokens[i+1].isKeyword("(") { // read_csv('file', …)
			depth := 0
			for i++; i < len(tokens); i++ {
				if tokens[i].isKeyword("(") {
					depth++
				} else if tokens[i].isKeyword(")") {
					if depth--; depth == 0 {
						break
					}
				}
			}
			if i == len(tokens) {
				return all
			}
			end = tokens[i].end
		}
		alias := ""
		if i+1 < len(tokens) && tokens[i+1].isKeyword("AS") {
			i++
		}
		if i+1 < len(tokens) && isWordByte(tokens[i+1].text[0]) && !slices.Contains(clauseWords, strings.ToUpper(tokens[i+1].text)) {
			alias = tokens[i+1].text
		}
		o.State = ""
		s, err := o.Prepare(ctx, t, "SELECT * FROM "+text[x.start:end])
		if err != nil {
			continue // the statement will fail with a better place of the error
		}
		if alias == "" && end == x.end {
			alias, _, _ = strings.Cut(filepath.Base(x.text), ".")
		}
		for _, c := range s.Columns() {
			all = append(all, completion{alias, c.Name})
		}
		s.Close()
	}
	return all
}
