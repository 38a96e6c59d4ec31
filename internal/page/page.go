// Package page contains the common parts of the web pages of all processes: the layout, the style,
// a script for live updates, and security headers. It does not depend on jobs or workers.
//
// A page is a template and works without the script. With it, the browser requests the page again
// every two seconds and replaces the changed parts. Selections, open details and the scroll
// position stay. There is no build step: all files are embedded.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/plain"
)

//go:embed layout.html parts.html style.css live.js act.js chart.js timeline.js icon.svg
var files embed.FS

// Frame is the data of a page around its content.
type Frame struct {
	Title   string    // title of this page
	Name    string    // name of the cluster or worker
	Version string    // version of the program
	Nav     []Link    // links to all pages
	At      time.Time // time of the data in the content
	Content any       // data for the template "content"
	// Scripts are the assets that this page needs beside live.js.
	Scripts []string
	// Search is the URL of a search, and Query what was searched for; without Search there is no
	// field for it.
	Search, Query string
	// Notice is a sentence above the content of every page, for the operator; empty means none.
	Notice string
}

// Link is one entry of the navigation.
type Link struct {
	Text, URL string // visible text and target
	Here      bool   // it links to the current page
}

// Funcs are the functions available in templates.
var Funcs = template.FuncMap{
	"num": num, "count": count, "size": bytesize.Format, "dur": Dur, "shell": ShellQuote, "bar": NewBar, "time": timeOf, "iso": iso, "pct": pct, "args": args, "asset": asset,
	"slots": Slots, "add": func(a, b int) int { return a + b }, "sub": func(a, b int) int { return max(a-b, 0) },
	"acts":   func() bool { return false }, // whether the reader has buttons; packages replace it
	"firstn": firstNames, "over": func(s []string) int { return max(len(s)-shownNames, 0) },
}

// Parse returns a page with the templates in the files of fs that match patterns. One of the
// templates must define "content".
func Parse(fs embed.FS, patterns ...string) (*template.Template, error) {
	t, err := template.New("layout.html").Funcs(Funcs).ParseFS(files, "layout.html", "parts.html")
	if err != nil {
		return nil, err
	}
	return t.ParseFS(fs, patterns...)
}

// AddParts adds the common templates, such as "bar", to a page with a layout of its own.
func AddParts(t *template.Template) (*template.Template, error) {
	return t.ParseFS(files, "parts.html")
}

// Asset returns the content of an embedded file, such as style.css.
func Asset(name string) ([]byte, error) { return files.ReadFile(name) }

// Render returns the HTML of a page. Unprintable bytes in the texts of f are escaped.
func Render(t *template.Template, f *Frame) ([]byte, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, plain.Page(f)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// policy allows pages to use only resources from this server.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Guard is GuardHost, and adds the security headers to every response.
func Guard(h http.Handler) http.Handler {
	return GuardHost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := w.Header()
		to.Set("Content-Security-Policy", policy)
		to.Set("X-Content-Type-Options", "nosniff")
		to.Set("X-Frame-Options", "DENY")
		to.Set("Referrer-Policy", "same-origin") // a form without a referrer has no origin either
		to.Set("Cross-Origin-Resource-Policy", "same-origin")
		to.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	}))
}

// GuardHost stands in front of every HTTP port. It refuses requests made through DNS rebinding,
// when a foreign web page points its own host name to this machine.
func GuardHost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isRebound(r) {
			http.Error(w, fmt.Sprintf("host %q is not 127.0.0.1 or localhost; a proxy must send one of these as the Host", r.Host), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isRebound reports whether a request reached a loopback address under another host name.
func isRebound(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return false
	}
	host := HostOf(r)
	return host != "" && !IsAddress(host)
}

// HostOf returns the host that a request names, without its port.
func HostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

// IsAddress reports whether a host is an IP address or localhost, which nobody can point elsewhere.
func IsAddress(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil
}

// Assets adds the style and the script to a mux.
func Assets(mux *http.ServeMux) {
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "act.js": "text/javascript; charset=utf-8", "chart.js": "text/javascript; charset=utf-8", "timeline.js": "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			b, _ := files.ReadFile(name) // embedded, so it cannot fail
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "private, max-age=3600") // its URL contains its hash
			_, _ = w.Write(b)
		})
	}
}

// asset returns the URL of a file. The URL changes with its content.
func asset(name string) (string, error) {
	b, err := files.ReadFile(name)
	h := fnv.New32a()
	_, _ = h.Write(b)
	return fmt.Sprintf("/%s?%x", name, h.Sum32()), err
}

// WantsHTML reports whether a request comes from a browser. Other clients get JSON.
func WantsHTML(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			switch kind, _, _ := strings.Cut(part, ";"); strings.TrimSpace(kind) {
			case "text/html":
				return true
			case "application/json":
				return false
			}
		}
	}
	return false
}

// Num formats a number with commas between thousands.
func Num[T ~int | ~int64](v T) string {
	s := strconv.FormatInt(int64(v), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// num is Num for templates.
func num(v any) (string, error) {
	switch v := v.(type) {
	case int:
		return Num(v), nil
	case int64:
		return Num(v), nil
	}
	return "", fmt.Errorf("num: %T is not a count", v)
}

// count returns a count with its noun: "1 task", "2,000 tasks".
func count(v any, noun string) (string, error) {
	n, err := num(v)
	if n != "1" {
		noun += "s"
	}
	return n + " " + noun, err
}

// Counted returns a count with its noun: "1 task", "1,234 tasks".
func Counted[T ~int | ~int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Num(n) + " " + noun + "s"
}

// Dur formats a duration with at most two units.
func Dur(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// DurSince formats the time since t.
func DurSince(t time.Time) string { return Dur(time.Since(t)) }

// Time formats a time for machines. For people, templates use Dur.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// timeOf is Time for templates.
func timeOf(v any) (string, error) {
	switch v := v.(type) {
	case time.Time:
		return Time(v), nil
	case *time.Time:
		return Time(*v), nil
	}
	return "", fmt.Errorf("time: %T is not a time", v)
}

// iso returns a time for the attribute datetime.
func iso(v any) (string, error) {
	const form = "2006-01-02T15:04:05.000Z"
	switch v := v.(type) {
	case time.Time:
		return v.UTC().Format(form), nil
	case *time.Time:
		return v.UTC().Format(form), nil
	}
	return "", fmt.Errorf("iso: %T is not a time", v)
}

// ShellQuote quotes a word for a POSIX shell.
func ShellQuote(word string) string {
	plain := word != "" && !strings.HasPrefix(word, "-")
	for _, c := range word {
		plain = plain && (c < 128 && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("-_./:@%+=,", c)))
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func pct(part, whole int) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%d %%", part*100/whole)
}

// args builds a map for a template with several arguments.
func args(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("args: key %v is not a string", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// Bar is a bar of colored parts.
type Bar struct {
	Parts []Part // from left to right
	Label string // text alternative for people who cannot see the bar
}

// Part is a part of a bar. From and To are in per mille of its length.
type Part struct {
	Class    string // CSS class with the color
	From, To float64
}

// NewBar returns a bar of counts with the classes done, running, failed, cancelled and waiting, in
// this order.
func NewBar(done, running, failed, cancelled, waiting int) Bar {
	all := done + running + failed + cancelled + waiting
	b := Bar{Label: fmt.Sprintf("%s of %s done, %s running, %s failed, %s cancelled, %s waiting", Num(done), Num(all), Num(running), Num(failed), Num(cancelled), Num(waiting))}
	at := 0.0
	for _, p := range []struct {
		class string
		n     int
	}{{"done", done}, {"running", running}, {"failed", failed}, {"cancelled", cancelled}, {"waiting", waiting}} {
		if p.n <= 0 {
			continue
		}
		to := at + 1000*float64(p.n)/float64(all)
		b.Parts = append(b.Parts, Part{p.class, at, to})
		at = to
	}
	return b
}

// Slots returns a bar of used and free slots.
func Slots(used, all int) Bar {
	b := NewBar(0, min(used, all), 0, 0, max(all-used, 0))
	b.Label = fmt.Sprintf("%s of %s in use", Num(used), Num(all))
	return b
}

// shownNames is the maximum number of names in a table cell.
const shownNames = 20

func firstNames(s []string) []string { return s[:min(len(s), shownNames)] }

// Width returns the width of the part in per mille.
func (p Part) Width() float64 { return p.To - p.From }
