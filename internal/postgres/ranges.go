package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A table is cut into ranges of a key, or of its pages.
//
//	key    WHERE id >= 1000 AND id < 2000 ORDER BY id
//	pages  WHERE ctid >= '(1000,0)' AND ctid < '(2000,0)'
//
// Keys are the default where the rows lie on disk in about the order of the key: the histogram of
// pg_stats gives ranges of equal numbers of rows, and the index finds each one. Where rows lie in
// another order, as with random UUIDs, each range of keys would touch nearly every page of the
// table. Pages are better there, and where there is no key.

// maxRanges is the largest number of ranges of one table.
const maxRanges = 4096

// probeTime is how long the planner may look for places to cut, where statistics are missing or
// old.
const probeTime = 3 * time.Second

// inOrder is the least correlation of a key with the order on disk for ranges of the key.
const inOrder = 0.8

// Range is a part of a relation.
type Range struct {
	// From is the table that has the rows; it may be a partition.
	From  string
	Where string // a condition; empty for all rows
	Order string // a key for ORDER BY; empty for the order on disk
	Label string // of the range, such as products[id >= 10]
	Bytes int64
	Note  string
}

// Ranges cuts a relation into parts of about target bytes. key is the column to cut by; if it is
// empty, the best one is chosen.
func (c *Conn) Ranges(ctx context.Context, r *Relation, key string, target int64) ([]Range, error) {
	if !r.table {
		return c.cutByValue(ctx, r, key, 16)
	}
	var all []Range
	for _, l := range r.leaves {
		label := r.Label
		if len(r.leaves) > 1 {
			label = l.from
		}
		n := int(min(max(1, (l.bytes+target-1)/target), maxRanges))
		switch {
		case l.kind == 'v' || l.kind == 'f' || l.kind == 'p':
			rel := &Relation{From: l.from, Label: label, Columns: r.Columns, Bytes: l.bytes}
			ranges, err := c.cutByValue(ctx, rel, key, max(n, 16))
			if err != nil {
				return nil, err
			}
			all = append(all, ranges...)
			continue
		case n == 1:
			all = append(all, Range{From: l.from, Label: label, Bytes: l.bytes})
			continue
		}
		k, err := c.chooseKey(ctx, l, key)
		if err != nil {
			return nil, err
		}
		if k == nil {
			pages, err := c.cutPages(ctx, l, label, n)
			if err != nil {
				return nil, err
			}
			all = append(all, pages...)
			continue
		}
		ranges, err := c.cutByKey(ctx, l, k, label, n)
		if err != nil {
			return nil, err
		}
		all = append(all, ranges...)
	}
	if len(all) == 0 { // a partitioned table without partitions
		all = []Range{{From: r.From, Label: r.Label}}
	}
	return all, nil
}

// keyColumn is a column to cut by.
type keyColumn struct {
	name, typ string
	notNull   bool
	stale     bool // statistics are missing or old
	rows      float64
}

// chooseKey returns the key of a table, or nil if pages are better.
func (c *Conn) chooseKey(ctx context.Context, l leaf, wanted string) (*keyColumn, error) {
	filter := "i.indisprimary DESC, i.indisunique DESC, i.indexrelid"
	where := ""
	if wanted != "" {
		where = " AND a.attname = " + Literal(wanted)
	}
	rows, err := c.Query(ctx, "SELECT a.attname, format_type(a.atttypid, NULL), a.attnotnull, coalesce(s.correlation, 0), s.attname IS NOT NULL, coalesce(pg_stat_get_mod_since_analyze(c.oid), 0), greatest(c.reltuples, 0) "+
		"FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam "+
		"JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited "+
		"WHERE i.indrelid = "+l.oid+" AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND has_column_privilege(c.oid, a.attnum, 'SELECT')"+where+" ORDER BY "+filter+" LIMIT 8")
	if err != nil {
		return nil, err
	}
	if wanted != "" && len(rows) == 0 {
		return nil, &Error{Database: Display(c.Name), Place: l.from, Text: fmt.Sprintf("Key(%q): no index begins with that column, so every range would read the whole table; create one, or leave Key out", wanted)}
	}
	for _, row := range rows {
		correlation, _ := strconv.ParseFloat(string(row[3]), 64)
		known := string(row[4]) == "t"
		if wanted == "" && known && max(correlation, -correlation) < inOrder {
			continue
		}
		changed, _ := strconv.ParseFloat(string(row[5]), 64)
		count, _ := strconv.ParseFloat(string(row[6]), 64)
		k := &keyColumn{name: string(row[0]), typ: string(row[1]), notNull: string(row[2]) == "t", rows: count}
		k.stale = !known || changed > count/5
		if wanted == "" && !known && !slices.Contains([]string{"smallint", "integer", "bigint"}, k.typ) {
			continue // rows of another key may lie anywhere
		}
		return k, nil
	}
	return nil, nil
}

// cutByKey cuts a table into n ranges of a key. The histogram gives the places; where it is old,
// or ends before the table does, the index is probed in steps.
func (c *Conn) cutByKey(ctx context.Context, l leaf, k *keyColumn, label string, n int) ([]Range, error) {
	key := Ident(k.name)
	rows := k.rows
	if rows < 1 {
		rows = max(float64(l.bytes)/200, 1)
	}
	step := int(max(rows/float64(n), 1))
	var cuts []string
	note := ""
	begun := time.Now()
	// probe adds a cut after every step rows behind a key, without an end for the last one.
	probe := func(after string) (err error) {
		for len(cuts) < maxRanges && time.Since(begun) < probeTime {
			where := key + " IS NOT NULL"
			if after != "" {
				where = key + " > " + Literal(after) + "::" + k.typ
			}
			got, err := c.Query(ctx, fmt.Sprintf("SELECT %[1]s::text FROM (SELECT %[1]s FROM ONLY %[2]s WHERE %[3]s ORDER BY %[1]s OFFSET %[4]d LIMIT 1) q", key, l.from, where, step))
			if err != nil {
				return err
			}
			if len(got) == 0 {
				return nil
			}
			after = string(got[0][0])
			cuts = append(cuts, after)
		}
		note = "the last one may be large: statistics are old, and looking for places to cut took too long; run ANALYZE"
		return nil
	}
	if k.stale {
		if err := probe(""); err != nil {
			return nil, err
		}
	} else {
		var err error
		if cuts, err = c.histogram(ctx, l, k, n); err != nil {
			return nil, err
		}
		if len(cuts) > 0 {
			if err := probe(cuts[len(cuts)-1]); err != nil {
				return nil, err
			}
		}
	}
	ranges := make([]Range, 0, len(cuts)+1)
	for i := range len(cuts) + 1 {
		var where []string
		text := ""
		if i > 0 {
			where = append(where, key+" >= "+Literal(cuts[i-1])+"::"+k.typ)
			text = fmt.Sprintf("%s >= %.40s", k.name, cuts[i-1])
		}
		if i < len(cuts) {
			where = append(where, key+" < "+Literal(cuts[i])+"::"+k.typ)
			if text == "" {
				text = fmt.Sprintf("%s < %.40s", k.name, cuts[i])
			}
		}
		r := Range{From: l.from, Where: strings.Join(where, " AND "), Order: key, Label: label + "[" + text + "]", Bytes: l.bytes / int64(len(cuts)+1)}
		if len(where) == 0 {
			r.Order, r.Label = "", label
		}
		if i == len(cuts) && i > 0 {
			if !k.notNull {
				r.Where = "(" + r.Where + " OR " + key + " IS NULL)"
			}
			r.Note = note
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// histogram returns at most n-1 places to cut, with about equal numbers of rows between them, from
// the statistics of a key.
func (c *Conn) histogram(ctx context.Context, l leaf, k *keyColumn, n int) ([]string, error) {
	rows, err := c.Query(ctx, "WITH s AS (SELECT s.* FROM pg_stats s JOIN pg_namespace n ON n.nspname = s.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename WHERE c.oid = "+l.oid+" AND s.attname = "+Literal(k.name)+" AND NOT s.inherited), "+
		"p AS (SELECT unnest(histogram_bounds::text::"+k.typ+"[]) AS v, (1 - null_frac - coalesce((SELECT sum(f) FROM unnest(most_common_freqs) f), 0)) / greatest(array_length(histogram_bounds, 1) - 1, 1) AS w FROM s "+
		"UNION ALL SELECT unnest(most_common_vals::text::"+k.typ+"[]), unnest(most_common_freqs) FROM s) "+
		"SELECT v::text, sum(w) FROM p GROUP BY v ORDER BY v")
	if err != nil {
		return nil, err
	}
	total := 0.0
	weights := make([]float64, len(rows))
	for i, row := range rows {
		weights[i], _ = strconv.ParseFloat(string(row[1]), 64)
		if i > 0 {
			total += weights[i]
		}
	}
	var cuts []string
	sum := 0.0 // the share of the rows before the value
	for i, row := range rows {
		if i > 0 && sum >= total*float64(len(cuts)+1)/float64(n)*0.999 && len(cuts) < n-1 {
			cuts = append(cuts, string(row[0]))
		}
		if i > 0 || len(rows) == 1 {
			sum += weights[i]
		}
	}
	return cuts, nil
}

// cutPages cuts a table into n ranges of pages.
func (c *Conn) cutPages(ctx context.Context, l leaf, label string, n int) ([]Range, error) {
	rows, err := c.Query(ctx, "SELECT pg_relation_size("+l.oid+") / current_setting('block_size')::bigint, current_setting('server_version_num')::int")
	if err != nil {
		return nil, err
	}
	pages, _ := strconv.ParseInt(string(rows[0][0]), 10, 64)
	version, _ := strconv.Atoi(string(rows[0][1]))
	if version < 14_00_00 {
		return []Range{{From: l.from, Label: label, Bytes: l.bytes, Note: "it has no key whose order its rows follow, and ranges of pages need PostgreSQL 14, so it cannot be cut"}}, nil
	}
	n = int(max(min(int64(n), pages), 1))
	ranges := make([]Range, n)
	for i := range ranges {
		from, to := pages*int64(i)/int64(n), pages*int64(i+1)/int64(n)
		var where []string
		if i > 0 {
			where = append(where, fmt.Sprintf("ctid >= '(%d,0)'", from))
		}
		if i < n-1 {
			where = append(where, fmt.Sprintf("ctid < '(%d,0)'", to))
		}
		ranges[i] = Range{From: l.from, Where: strings.Join(where, " AND "), Label: fmt.Sprintf("%s[page %d]", label, from), Bytes: l.bytes / int64(n), Note: "cut by pages: rows do not lie in the order of a key"}
	}
	return ranges, nil
}

// cutByValue cuts a query, view or foreign table by a numeric key into n equal intervals.
func (c *Conn) cutByValue(ctx context.Context, r *Relation, key string, n int) ([]Range, error) {
	one := func(why string) []Range {
		return []Range{{From: r.From, Label: r.Label, Bytes: max(r.Bytes, 1), Note: why}}
	}
	if key == "" {
		return one("a view or query without Key cannot be cut, so one attempt reads it"), nil
	}
	col := r.Column(key)
	if col == nil {
		return nil, &Error{Database: Display(c.Name), Place: r.Label, Text: fmt.Sprintf("Key(%q): there is no such column; it has %s", key, strings.Join(r.Names(), ", "))}
	}
	if !slices.Contains([]string{"smallint", "integer", "bigint"}, col.Type.Name) {
		return nil, &Error{Database: Display(c.Name), Place: r.Label, Text: fmt.Sprintf("Key(%q): the column is %s; a view or query can be cut by an integer only; cast it, or leave Key out", key, col.Type.Name)}
	}
	id := Ident(key)
	rows, err := c.Query(ctx, fmt.Sprintf("SELECT min(%s), max(%[1]s) FROM %s", id, r.From))
	if err != nil {
		return nil, Explain(c.Name, r.Label, err)
	}
	if rows[0][0] == nil {
		return one("it is empty, or its key is always NULL"), nil
	}
	low, _ := strconv.ParseInt(string(rows[0][0]), 10, 64)
	high, _ := strconv.ParseInt(string(rows[0][1]), 10, 64)
	span := uint64(high-low) + 1
	if span != 0 {
		n = int(min(uint64(n), span))
	}
	ranges := make([]Range, n)
	for i := range ranges {
		var where []string
		cut := func(i int) int64 {
			return low + int64((span-1)/uint64(n)*uint64(i)) + int64((span-1)%uint64(n)*uint64(i)/uint64(n))
		}
		if i > 0 {
			where = append(where, fmt.Sprintf("%s >= %d", id, cut(i)))
		}
		if i < n-1 {
			where = append(where, fmt.Sprintf("%s < %d", id, cut(i+1)))
		}
		ranges[i] = Range{From: r.From, Where: strings.Join(where, " AND "), Label: fmt.Sprintf("%s[%s >= %d]", r.Label, key, cut(i)), Bytes: max(r.Bytes/int64(n), 1)}
		if i == n-1 && i > 0 {
			ranges[i].Where = fmt.Sprintf("(%s OR %s IS NULL)", ranges[i].Where, id)
		}
	}
	return ranges, nil
}
