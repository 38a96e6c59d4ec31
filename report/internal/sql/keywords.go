package sql

import (
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
)

// class is how a keyword may be used as a name. The classes are PostgreSQL's, so that a name works
// here when it works there.
type class uint8

const (
	word     class = iota // not a keyword, or one that can be any name
	reserved              // no name, unless after AS or a dot
	function              // the name of a function only: left(x, 1)
	notCall               // any name but a function's: decimal
	notAlias              // any name, but an alias only after AS: year
)

// keyword is a word that the parser knows.
type keyword struct {
	name  string // in upper case
	class class
}

// keywords holds every word with a meaning in the grammar or a class of its own.
var keywords = func() map[string]*keyword {
	m := map[string]*keyword{}
	add := func(c class, names string) {
		for name := range strings.FieldsSeq(names) {
			m[name] = &keyword{name, c}
		}
	}
	add(reserved, `ALL ANALYSE ANALYZE AND ANY ARRAY AS ASC ASYMMETRIC BOTH CASE CAST CHECK COLLATE COLUMN CONSTRAINT
		CREATE CURRENT_CATALOG CURRENT_DATE CURRENT_ROLE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DEFAULT DEFERRABLE DESC
		DISTINCT DO ELSE END EXCEPT FALSE FETCH FOR FOREIGN FROM GRANT GROUP HAVING IN INITIALLY INTERSECT INTO LATERAL
		LEADING LIMIT LOCALTIME LOCALTIMESTAMP NOT NULL OFFSET ON ONLY OR ORDER PLACING PRIMARY REFERENCES RETURNING
		SELECT SESSION_USER SOME SYMMETRIC SYSTEM_USER TABLE THEN TO TRAILING TRUE UNION UNIQUE USER USING VARIADIC WHEN
		WHERE WINDOW WITH QUALIFY`)
	add(function, `AUTHORIZATION BINARY COLLATION CONCURRENTLY CROSS FREEZE FULL ILIKE INNER IS ISNULL JOIN LEFT LIKE
		NATURAL NOTNULL OUTER OVERLAPS RIGHT SIMILAR TABLESAMPLE VERBOSE ANTI SEMI ASOF POSITIONAL PIVOT UNPIVOT`)
	add(notCall, `BETWEEN BIGINT BIT BOOLEAN CHAR CHARACTER DEC DECIMAL FLOAT INOUT INT INTEGER NATIONAL NCHAR
		NONE NUMERIC OUT PRECISION REAL SETOF SMALLINT TIME TIMESTAMP VALUES VARCHAR`)
	add(notAlias, `DAY FILTER HOUR MINUTE MONTH OVER SECOND VARYING WITHIN WITHOUT YEAR`)
	add(word, `COPY EXPLAIN DESCRIBE SUMMARIZE RECURSIVE MATERIALIZED EXCLUDE REPLACE BY ROLLUP CUBE GROUPING SETS NULLS FIRST
		LAST NEXT ROW ROWS RANGE GROUPS UNBOUNDED PRECEDING FOLLOWING CURRENT TIES OTHERS NO PARTITION ESCAPE UNKNOWN
		INTERVAL AT ZONE EXISTS TRY_CAST EXTRACT SUBSTRING POSITION TRIM OVERLAY IGNORE RESPECT ORDINALITY PERCENT DOUBLE
		QUARTER WEEK MILLISECOND MICROSECOND YEARS QUARTERS MONTHS WEEKS DAYS HOURS MINUTES SECONDS MILLISECONDS
		MICROSECONDS STRUCT MAP COLUMNS LAMBDA TOP REGEXP RLIKE GLOB DIV MOD XOR SAMPLE RENAME
		INSERT UPDATE DELETE DROP ALTER MERGE SET SHOW USE ATTACH DETACH PRAGMA BEGIN COMMIT ROLLBACK TRUNCATE INSTALL
		LOAD EXPORT IMPORT CALL VACUUM ENUM`)
	return m
}()

// longestKeyword is at least the length of every keyword.
const longestKeyword = 24

// lookup returns the keyword that a bare word is, in any case, or nil.
func lookup(s string) *keyword {
	if len(s) > longestKeyword {
		return nil
	}
	var upper [longestKeyword]byte
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return keywords[string(upper[:len(s)])]
}

// clauses are the keywords whose misspellings are looked for.
var clauses = strings.Fields(`SELECT DISTINCT FROM WHERE GROUP HAVING QUALIFY WINDOW ORDER LIMIT OFFSET FETCH JOIN LEFT RIGHT
	FULL INNER CROSS OUTER SEMI ANTI NATURAL UNION INTERSECT EXCEPT USING BETWEEN LIKE ILIKE AND OR NOT IS NULL
	CASE WHEN THEN ELSE END CAST EXISTS ASC DESC NULLS FIRST LAST WITH VALUES PARTITION OVER FILTER ROLLUP CUBE
	GROUPING SETS EXCLUDE REPLACE COPY EXPLAIN ANALYZE DESCRIBE SUMMARIZE INTERVAL`)

// nearest returns the clause keyword that a word is probably meant to be, or "".
func nearest(s string) string {
	up := strings.ToUpper(s)
	switch up {
	case "GROUPBY", "ORDERBY", "PARTITIONBY":
		return up[:len(up)-2] + " BY"
	case "MINUS":
		return "EXCEPT"
	}
	best, at := "", 1+min(2, len(up)/3)
	for _, k := range clauses {
		d := spelling.Distance(up, k)
		if d < at || d == at && best != "" && best[0] != up[0] && k[0] == up[0] {
			best, at = k, d
		}
	}
	if best == up {
		return ""
	}
	return best
}
