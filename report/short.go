package report

import (
	"errors"
	"fmt"
	"strings"

	"github.com/layshaft/layshaft/report/internal/sql"
)

// Short is the short form of a grouped report.
type Short struct {
	// By are columns or expressions, separated by commas. Empty means one group.
	By string
	// Aggregates are calls of aggregates, separated by commas, such as "count, sum(price*stock)".
	// Empty means count.
	Aggregates string
	// Where is a condition. Empty means all rows.
	Where string
	// Top is the number of groups with the largest first aggregate. Zero means all, in the order of
	// their keys.
	Top int64
	// Paths are files, globs or datasets.
	Paths []string
}

// Statement returns the SELECT that the short form stands for. An error names the part that is
// wrong.
func (s Short) Statement() (string, error) {
	if len(s.Paths) == 0 {
		return "", errors.New("the files are missing")
	}
	var items, keys []string
	list := func(what, text string) ([]*sql.Item, error) {
		parsed, err := sql.ParseExprList(text)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", what, text, err)
		}
		return parsed, nil
	}
	if s.By != "" {
		by, err := list("the columns", s.By)
		if err != nil {
			return "", err
		}
		for i, it := range by {
			items = append(items, sql.Format(it))
			keys = append(keys, fmt.Sprint(i+1))
		}
	}
	aggregates := s.Aggregates
	if aggregates == "" {
		aggregates = "count"
	}
	aggs, err := list("the aggregates", aggregates)
	if err != nil {
		return "", err
	}
	for _, it := range aggs {
		if c, ok := it.X.(*sql.Column); ok && len(c.Parts) == 1 && strings.EqualFold(c.Parts[0].Name, "count") {
			alias := it.Alias
			if alias == nil {
				alias = &sql.Ident{Pos: it.Pos, Name: "count"}
			}
			it = &sql.Item{Pos: it.Pos, X: &sql.Call{Pos: it.Pos, Name: "count", Star: true}, Alias: alias}
		}
		items = append(items, sql.Format(it))
	}
	paths := make([]string, len(s.Paths))
	for i, p := range s.Paths {
		paths[i] = "'" + strings.ReplaceAll(p, "'", "''") + "'"
	}
	from := paths[0]
	if len(paths) > 1 {
		from = "[" + strings.Join(paths, ", ") + "]"
	}
	text := "SELECT " + strings.Join(items, ", ") + " FROM " + from
	if s.Where != "" {
		cond, err := sql.ParseExpr(s.Where)
		if err != nil {
			return "", fmt.Errorf("the condition %q: %w", s.Where, err)
		}
		text += " WHERE " + sql.Format(cond)
	}
	if len(keys) > 0 {
		text += " GROUP BY " + strings.Join(keys, ", ")
	}
	switch {
	case s.Top > 0:
		text += fmt.Sprintf(" ORDER BY %d DESC LIMIT %d", len(keys)+1, s.Top)
	case s.Top < 0:
		return "", fmt.Errorf("top is %d; use a number above 0, or 0 for all groups", s.Top)
	case len(keys) > 0:
		text += " ORDER BY " + strings.Join(keys, ", ")
	}
	return text, nil
}
