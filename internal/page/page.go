// Package page is what the web pages of all processes share: layout, style, a script that keeps them live, and the headers that keep others out. It
// knows nothing of jobs or workers.
//
// A page is a template and reads well without the script; with it, the page is asked for again every two seconds and what changed in it is
// replaced, so that selections, open details and the place in a long page stay. There is nothing to build: all files are embedded.
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
)

//go:embed layout.html style.css live.js
var files embed.FS

// Frame is what is around the content of each page.
type Frame struct {
	Title   string // of this page
	Name    string // of the cluster or worker
	Version string
	Nav     []Link
	At      time.Time // when the content was looked up
	Content any       // handed to the template "content"
}

// Link is one entry of the navigation.
type Link struct {
	Text, URL string
	Here      bool // it is the page that is shown
}

// Funcs are the functions that templates may use.
var Funcs = template.FuncMap{
	"num": num, "size": bytesize.Format, "dur": Dur, "shell": Shell, "bar": NewBar, "line": Line, "time": Time, "pct": pct, "args": args, "asset": asset,
	"slots": Slots, "add": func(a, b int) int { return a + b }, "sub": func(a, b int) int { return max(a-b, 0) },
	"firstn": firstNames, "over": func(s []string) int { return max(len(s)-shownNames, 0) },
}

// Parse returns the page whose templates fs has in the files that match patterns; one of them defines "content".
func Parse(fs embed.FS, patterns ...string) (*template.Template, error) {
	t, err := template.New("layout.html").Funcs(Funcs).ParseFS(files, "layout.html")
	if err != nil {
		return nil, err
	}
	return t.ParseFS(fs, patterns...)
}

// Render returns a page.
func Render(t *template.Template, f *Frame) ([]byte, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// policy lets pages use what this server serves and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Guard adds the headers that every answer has, and refuses what a web page of others asks by having its own name point to this machine.
func Guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rebound(r) {
			http.Error(w, fmt.Sprintf("host %q: here is 127.0.0.1 or localhost; a proxy must send one of these as the Host", r.Host), http.StatusForbidden)
			return
		}
		to := w.Header()
		to.Set("Content-Security-Policy", policy)
		to.Set("X-Content-Type-Options", "nosniff")
		to.Set("X-Frame-Options", "DENY")
		to.Set("Referrer-Policy", "no-referrer")
		to.Set("Cross-Origin-Resource-Policy", "same-origin")
		to.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// rebound reports whether a request came to a loopback address under a name that means another.
func rebound(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host != "" && !strings.EqualFold(host, "localhost") && net.ParseIP(host) == nil
}

// Assets adds style and script to a mux.
func Assets(mux *http.ServeMux) {
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			b, _ := files.ReadFile(name) // it is embedded
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "private, max-age=3600") // the address has a hash of it
			_, _ = w.Write(b)
		})
	}
}

// asset returns the address of a file, which changes with its content.
func asset(name string) (string, error) {
	b, err := files.ReadFile(name)
	h := fnv.New32a()
	_, _ = h.Write(b)
	return fmt.Sprintf("/%s?%x", name, h.Sum32()), err
}

// WantsHTML says whether a request comes from a browser. Everybody else gets JSON.
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

// Num writes a number with commas between thousands.
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
	return "", fmt.Errorf("num: %T is no count", v)
}

// Dur writes a duration, coarsely.
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

// Time writes a moment for machines; templates write it for people with Dur.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Shell quotes a word for a POSIX shell.
func Shell(word string) string {
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

// args makes a map for a template that wants several values.
func args(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("args: key %v is no string", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// Bar is a bar of coloured parts.
type Bar struct {
	Parts []Part
	Label string // says what it shows, for those who do not see it
}

// Part is a part of a bar, in per mille of its length.
type Part struct {
	Class    string
	From, To float64
}

// NewBar returns a bar of counts with the classes done, running, failed, cancelled and waiting, in this order.
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

// Slots returns a bar of how much is in use.
func Slots(used, all int) Bar {
	b := NewBar(0, min(used, all), 0, 0, max(all-used, 0))
	b.Label = fmt.Sprintf("%s of %s in use", Num(used), Num(all))
	return b
}

// shownNames is how many names a cell of a table has at most.
const shownNames = 20

func firstNames(s []string) []string { return s[:min(len(s), shownNames)] }

// Width is how long a part is.
func (p Part) Width() float64 { return p.To - p.From }

// Line returns the points of a line through values, the oldest first, in a box of 240 by 40, whose top is at the largest value.
func Line(values []float64) string {
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	if top == 0 {
		top = 1
	}
	var b strings.Builder
	for i, v := range values {
		fmt.Fprintf(&b, "%.1f,%.1f ", 240*float64(i)/float64(max(len(values)-1, 1)), 39-38*v/top)
	}
	return strings.TrimSpace(b.String())
}
