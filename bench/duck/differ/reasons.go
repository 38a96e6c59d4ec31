package differ

import "regexp"

// reason explains a difference: the statement and the error or the rows match.
type reason struct {
	text              string
	statement, detail *regexp.Regexp
}

func because(text, statement, detail string) reason {
	return reason{text, regexp.MustCompile(statement), regexp.MustCompile(detail)}
}

// reasonOf returns the text of the first reason that matches, or "".
func reasonOf(reasons []reason, statement, detail string) string {
	for _, r := range reasons {
		if r.statement.MatchString(statement) && r.detail.MatchString(detail) {
			return r.text
		}
	}
	return ""
}

// refusals are statements that run in DuckDB alone.
var refusals = []reason{
	because("DuckDB does not compute values that it does not need", `LIMIT|INTERSECT|EXCEPT|JOIN|FILTER|false|NULL::boolean|NOT \(true\)`, `out of range`),
	because("a constant is computed even if there are no rows", `CAST\('NaN'::double AS`, `out of range`),
	because("subqueries in ON", `.`, `subqueries are not supported in ON`),
}

// accepted are statements that run in ours alone.
var accepted = []reason{
	because("decimals of at most 18 digits overflow in DuckDB", `.`, `Overflow in (multiplication|addition|subtraction) of DECIMAL`),
	because("statistics of infinite values are an error in DuckDB", `.`, `is out of range!`),
	because("the result of bit_count has 8 bits in DuckDB", `bit_count`, `Overflow in left shift`),
	because("DuckDB computes arguments of aggregates for rows that FILTER leaves out", `FILTER`, `Could not cast value|can't be cast`),
	because("ORDER BY of a constant inside an aggregate", `.`, `ORDER BY non-integer literal`),
}

// differences are statements with other rows.
var differences = []reason{
	because("DuckDB returns NaN for statistics of values without variance, ours NULL", `skewness|kurtosis|corr|regr_|covar`, `NaN`),
	because("DuckDB returns a number for the kurtosis of values without variance", `kurtosis`, `.`),
	because("a list inside JSON is written as the JSON has it", `js::json`, `\[\\?"`),
	because("in ours a dot matches a line break", `regexp_.*'\\.'`, `\\n`),
	because("list_reverse_sort follows the order of NULLs that the comparison sets in DuckDB", `list_reverse_sort`, `null|rows, DuckDB`),
	because("DuckDB returns 0 for the skewness of values without variance", `skewness`, `.`),
	because("covariances lose digits in DuckDB", `covar_|regr_|corr\(`, `[0-9]\.[0-9]{6}`),
	because("the length of a JSON array is unsigned in DuckDB", `-\(json_array_length`, `1844674407`),
	because("a list inside JSON is written as the JSON has it", `(hex|sha256|md5|length|to_base64)\(\(?[a-z.]*js::json->>'\$\.b'`, `.`),
	because("blanks around a boolean are left out, as in PostgreSQL", `TRY_CAST\(.* AS boolean\)`, `.`),
	because("cbrt of a cube is not whole in DuckDB", `nullif\(cbrt`, `<nil>`),
	because("DuckDB rounds text with decimals to an integer", `TRY_CAST\(.* AS bigint\)`, `.`),
	because("DuckDB ignores text after a date", `TRY_CAST\(concat_ws\('/'.* AS date\)`, `.`),
	because("count_if of no rows is NULL in DuckDB", `count_if`, `<nil>`),
}
