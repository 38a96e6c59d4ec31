package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
)

// Type is a type of values. A domain is described by the type below it.
type Type struct {
	OID  uint32 `json:"oid"`
	Name string `json:"name"` // as in SQL, such as timestamp with time zone
	// Kind is b for a base type, e for an enum, c for a row, r for a range, and so on.
	Kind byte  `json:"kind"`
	Elem *Type `json:"elem,omitempty"` // of an array
	// Modifier is the modifier of the column, such as precision and scale; -1 without one.
	Modifier int32 `json:"mod"`
}

// Column is a column of a table or query.
type Column struct {
	Name    string
	Type    Type
	NotNull bool
	// Nulls is the estimated share of NULL, from 0 to 1. Zero also means unknown.
	Nulls float64
}

// Text returns the column as text, for SQL. A cast of an inet would add the length of its mask.
func (c *Column) Text() string {
	name := Ident(c.Name)
	if c.Type.Name == "inet" {
		return "CASE WHEN " + name + " IS NOT NULL THEN format('%s', " + name + ") END"
	}
	return name + "::text"
}

// Relation is the input of a read: a table, or a query.
type Relation struct {
	// From is the text behind FROM: a quoted name, or a query in parentheses.
	From    string
	Columns []Column
	// Label is the relation in messages.
	Label string
	// Bytes is the estimated size.
	Bytes int64

	table  bool
	leaves []leaf // of a table: itself, or its partitions
}

// leaf is a table with rows of its own.
type leaf struct {
	oid   string
	from  string // quoted, with its schema
	kind  byte   // pg_class.relkind
	bytes int64
	rows  float64 // estimated; below zero when unknown
}

var queryForm = regexp.MustCompile(`(?is)^\s*(select|with|table|values)\b|^\s*\(`)

// IsQuery reports whether a text is a query rather than the name of a table.
func IsQuery(from string) bool { return queryForm.MatchString(from) }

// Describe looks up a table, view or query.
func (c *Conn) Describe(ctx context.Context, from string) (*Relation, error) {
	if IsQuery(from) {
		return c.describeQuery(ctx, from)
	}
	// Names are looked up as SQL does: Products is products, "Products" keeps its case.
	rows, err := c.Query(ctx, "SELECT to_regclass("+Literal(from)+")::oid")
	if err != nil {
		return nil, Explain(c.Name, from, err)
	}
	oid := string(rows[0][0])
	if rows[0][0] == nil {
		return nil, c.noTable(ctx, from)
	}
	rows, err = c.Query(ctx, "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind, has_table_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'SELECT'), current_user "+
		"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = "+oid)
	if err != nil {
		return nil, err
	}
	r := &Relation{From: string(rows[0][0]), Label: from, table: true}
	kind := rows[0][1][0]
	if !strings.ContainsRune("rpvmf", rune(kind)) {
		return nil, &Error{Database: Display(c.Name), Place: from, Text: "it is neither a table nor a view; name one, or write a query"}
	}
	if string(rows[0][3]) == "f" {
		return nil, &Error{Database: Display(c.Name), Place: from, Text: fmt.Sprintf("role %s may not read it; GRANT SELECT ON %s TO %[1]s", Ident(string(rows[0][4])), r.From)}
	}
	full := string(rows[0][2]) == "t"
	rows, err = c.Query(ctx, "SELECT a.attname, a.atttypid, a.atttypmod, a.attnotnull, coalesce(s.null_frac, 0), has_column_privilege(a.attrelid, a.attnum, 'SELECT') "+
		"FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "+
		"LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND s.inherited = (c.relkind = 'p') "+
		"WHERE a.attrelid = "+oid+" AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum")
	if err != nil {
		return nil, err
	}
	var oids, mods []string
	for _, row := range rows {
		if !full && string(row[5]) == "f" {
			continue // as if it did not exist
		}
		share, _ := strconv.ParseFloat(string(row[4]), 64)
		r.Columns = append(r.Columns, Column{Name: string(row[0]), NotNull: string(row[3]) == "t", Nulls: share})
		oids, mods = append(oids, string(row[1])), append(mods, string(row[2]))
	}
	if err := c.setTypes(ctx, r.Columns, oids, mods); err != nil {
		return nil, err
	}
	return r, c.findLeaves(ctx, r, oid, kind)
}

// noTable is the error for a missing table. It names similar ones.
func (c *Conn) noTable(ctx context.Context, from string) error {
	rows, err := c.Query(ctx, "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE quote_ident(n.nspname) || '.' END || quote_ident(c.relname), current_database() FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "+
		"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND has_any_column_privilege(c.oid, 'SELECT') ORDER BY 1 LIMIT 1000")
	if err != nil {
		return err
	}
	var names []string
	for _, row := range rows {
		names = append(names, string(row[0]))
	}
	why := "there is no such table; "
	if near := Nearest(from, names); near != "" {
		return &Error{Database: Display(c.Name), Place: from, Text: why + "did you mean " + near + "?"}
	}
	return &Error{Database: Display(c.Name), Place: from, Text: why + "correct the name, or put its schema before it"}
}

// Nearest returns the name that is most like the given one; empty if none is.
func Nearest(name string, names []string) string {
	for _, n := range names {
		if i := strings.LastIndexByte(n, '.'); i >= 0 && strings.EqualFold(n[i+1:], name) {
			return n
		}
	}
	return spelling.Nearest(name, names)
}

func (c *Conn) describeQuery(ctx context.Context, query string) (*Relation, error) {
	query = strings.TrimRight(strings.TrimSpace(query), "; \t\r\n")
	r := &Relation{From: "(" + query + "\n) AS q", Label: "query"} // a comment may end the query
	d, err := c.Prepare(ctx, "", "SELECT * FROM "+r.From, nil)
	if err != nil {
		return nil, Explain(c.Name, "query", err)
	}
	var oids, mods []string
	for _, f := range d.Fields {
		r.Columns = append(r.Columns, Column{Name: f.Name})
		oids, mods = append(oids, fmt.Sprint(f.DataTypeOID)), append(mods, fmt.Sprint(f.TypeModifier))
	}
	return r, c.setTypes(ctx, r.Columns, oids, mods)
}

// setTypes looks up the types of columns.
func (c *Conn) setTypes(ctx context.Context, columns []Column, oids, mods []string) error {
	known := map[string]*Type{}
	base := map[string]string{} // of domains
	baseMod := map[string]string{}
	for wanted := slices.Compact(slices.Sorted(slices.Values(oids))); len(wanted) > 0; {
		rows, err := c.Query(ctx, "SELECT oid, typtype, format_type(CASE WHEN typtype = 'd' THEN typbasetype ELSE oid END, NULL), CASE WHEN typcategory = 'A' THEN typelem ELSE 0 END, typbasetype, typtypmod FROM pg_type WHERE oid IN ("+strings.Join(wanted, ", ")+")")
		if err != nil {
			return err
		}
		wanted = nil
		for _, row := range rows {
			oid := string(row[0])
			n, _ := strconv.ParseUint(oid, 10, 32)
			t := &Type{OID: uint32(n), Kind: row[1][0], Name: string(row[2]), Modifier: -1}
			known[oid] = t
			switch elem, below := string(row[3]), string(row[4]); {
			case t.Kind == 'd':
				base[oid], baseMod[oid] = below, string(row[5])
				wanted = append(wanted, below)
			case elem != "0":
				n, _ := strconv.ParseUint(elem, 10, 32)
				t.Elem = &Type{OID: uint32(n), Modifier: -1}
				wanted = append(wanted, elem)
			}
		}
		wanted = slices.DeleteFunc(wanted, func(oid string) bool { return known[oid] != nil })
	}
	resolve := func(oid, mod string) (Type, error) {
		for base[oid] != "" {
			if mod == "-1" {
				mod = baseMod[oid]
			}
			oid = base[oid]
		}
		t := known[oid]
		if t == nil {
			return Type{}, fmt.Errorf("database %s: the type %s is missing from pg_type", Display(c.Name), oid)
		}
		out := *t
		n, _ := strconv.ParseInt(mod, 10, 32)
		out.Modifier = int32(n)
		return out, nil
	}
	for i := range columns {
		t, err := resolve(oids[i], mods[i])
		if err != nil {
			return err
		}
		if t.Elem != nil {
			e, err := resolve(fmt.Sprint(t.Elem.OID), fmt.Sprint(t.Modifier))
			if err != nil {
				return err
			}
			t.Elem = &e
		}
		columns[i].Type = t
	}
	return nil
}

// findLeaves finds the tables that hold the rows of a table.
func (c *Conn) findLeaves(ctx context.Context, r *Relation, oid string, kind byte) error {
	rows, err := c.Query(ctx, "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind, CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END, c.reltuples, has_table_privilege(c.oid, 'SELECT') "+
		"FROM (SELECT "+oid+"::oid AS id WHERE "+Literal(string(kind))+" <> 'p' UNION ALL SELECT relid FROM pg_partition_tree("+oid+") WHERE isleaf AND "+Literal(string(kind))+" = 'p') t "+
		"JOIN pg_class c ON c.oid = t.id JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 2")
	if err != nil {
		return err
	}
	all := true // partitions may have other rights than their table
	for _, row := range rows {
		size, _ := strconv.ParseInt(string(row[3]), 10, 64)
		count, _ := strconv.ParseFloat(string(row[4]), 64)
		r.leaves = append(r.leaves, leaf{string(row[0]), string(row[1]), row[2][0], size, count})
		r.Bytes += size
		all = all && string(row[5]) == "t"
	}
	if !all && len(r.leaves) > 0 && kind == 'p' {
		r.leaves = []leaf{{oid: oid, from: r.From, kind: 'p', bytes: r.Bytes, rows: -1}}
	}
	return nil
}

// Column returns a column by its exact name, or nil.
func (r *Relation) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// Names returns the names of all columns.
func (r *Relation) Names() []string {
	names := make([]string, len(r.Columns))
	for i := range r.Columns {
		names[i] = r.Columns[i].Name
	}
	return names
}
