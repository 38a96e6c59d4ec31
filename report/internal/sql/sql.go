// Package sql reads one SELECT statement into a tree. The dialect is the part of SQL that users of
// DuckDB and PostgreSQL type without looking it up.
//
// The package knows words and their order. It knows neither tables, functions nor types, so it
// never reports an unknown column. It imports the standard library only.
package sql
