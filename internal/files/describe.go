package files

import (
	"strconv"
	"strings"
)

// Call returns the call that made a source or sink, for plans and errors, such as
// binio.Records(8, "a", "b"). first is its first argument, unless empty; texts are the others.
func Call(name, first string, texts []string) string {
	if first != "" && len(texts) > 0 {
		first += ", "
	}
	return name + "(" + first + QuoteAll(texts) + ")"
}

// QuoteAll returns texts in quotes, separated by commas.
func QuoteAll(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = strconv.Quote(t)
	}
	return strings.Join(quoted, ", ")
}
