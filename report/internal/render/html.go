package render

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"strings"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report/internal/vec"
)

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// html writes one page that needs no other file: a table that can be sorted, and above it a chart
// if the result has the shape of one. The page is kept in memory until its chart is known.
type html struct {
	out     *bufio.Writer
	options Options
	columns []vec.Field
	body    bytes.Buffer
	rows    int
	chart   chart
	buf     []byte
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

// escaped returns s as text of a page; line ends stay.
func escaped(s string) string { return htmlEscapes.Replace(plain.Lines(s)) }

func (h *html) Begin(columns []vec.Field) error {
	h.columns = columns
	h.chart = newChart(columns)
	return nil
}

func (h *html) Write(rows *vec.Batch) error {
	h.chart.add(rows)
	for i := range rows.N {
		h.rows++
		h.body.WriteString("<tr>")
		for _, v := range rows.Cols {
			s, null := text(v, i, h.buf)
			h.buf = s
			switch {
			case null && isRight(v.Type):
				h.body.WriteString(`<td class="n z">NULL`)
			case null:
				h.body.WriteString(`<td class="z">NULL`)
			case isRight(v.Type):
				h.body.WriteString(`<td class="n">`)
				h.body.Write(s)
			default:
				h.body.WriteString("<td>")
				h.body.WriteString(escaped(string(s)))
			}
		}
		h.body.WriteString("\n")
	}
	return nil
}

func (h *html) End() error {
	title := h.options.Title
	heading := ""
	if title != "" {
		heading = "<h1>" + escaped(title) + "</h1>\n"
	} else {
		title = "Report"
	}
	// the policy forbids everything but the style and the script below
	fmt.Fprintf(h.out, `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>%s</title>
<style>
%s</style>
<body>
%s`, escaped(strings.Join(strings.Fields(title), " ")), pageCSS, heading)
	h.chart.write(h.out)
	h.out.WriteString("<div class=\"wide\"><table>\n<thead><tr>")
	for _, c := range h.columns {
		class := ""
		if isRight(c.Type) {
			class = ` class="n"`
		}
		fmt.Fprintf(h.out, `<th scope="col"%s><button type="button" title="%s">%s</button></th>`, class, escaped(c.Type.String()), escaped(c.Name))
	}
	h.out.WriteString("</tr></thead>\n<tbody>\n")
	h.out.Write(h.body.Bytes())
	rows := "rows"
	if h.rows == 1 {
		rows = "row"
	}
	fmt.Fprintf(h.out, "</tbody>\n</table></div>\n<footer>%d %s</footer>\n<script>\n%s</script>\n", h.rows, rows, pageJS)
	return h.out.Flush()
}
