package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/layshaft/layshaft/internal/plain"
)

// print prints v as JSON, or the output of table, with tabs between cells.
func (f outputFlag) print(v any, table func(w io.Writer)) error {
	if f.Output == "json" {
		return plain.WriteJSON(os.Stdout, v)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// row writes one line of a table. Names and texts of others cannot leave their cell.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, plain.Text(fmt.Sprint(c)))
	}
	fmt.Fprintln(w)
}
