package page

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for _, x := range []struct{ got, want string }{
		{Num(0), "0"}, {Num(999), "999"}, {Num(1000), "1,000"}, {Num(-1234567), "-1,234,567"}, {Num(-123), "-123"},
		{Dur(-time.Second), "0 µs"}, {Dur(45 * time.Microsecond), "45 µs"}, {Dur(1500 * time.Millisecond), "1.5 s"}, {Dur(61 * time.Second), "1 min 01 s"},
		{Dur(25 * time.Hour), "25 h 00 min"}, {Dur(72 * time.Hour), "3 days"},

		{NewBar(1, 0, 0, 0, 3).Label, "1 of 4 done, 0 running, 0 failed, 0 cancelled, 3 waiting"},
	} {
		if x.got != x.want {
			t.Errorf("%q, want %q", x.got, x.want)
		}
	}
	if b := NewBar(1, 1, 0, 0, 2); len(b.Parts) != 3 || b.Parts[1] != (Part{"running", 250, 500}) || b.Parts[1].Width() != 250 || len(NewBar(0, 0, 0, 0, 0).Parts) != 0 {
		t.Errorf("bar %+v", b)
	}
}

// A shell gives back the word that was quoted.
func TestShell(t *testing.T) {
	for _, word := range []string{"plain-1.txt", "", "two words", "it's", `a"b`, "$(reboot)", "`x`", "-n", "a\nb", "ä;b", "*"} {
		out, err := exec.Command("sh", "-c", `printf %s "$1" | cat; set -- `+ShellQuote(word)+`; printf "|%s" "$1"`, "sh", "").Output()
		if err != nil || string(out) != "|"+word {
			t.Errorf("%q as %s gives %q, %v", word, ShellQuote(word), out, err)
		}
	}
}

func TestWantsHTML(t *testing.T) {
	for accept, want := range map[string]bool{"": false, "*/*": false, "text/html": true, "application/json": false, "application/json;q=1, text/html": false,
		"text/html;level=1": true, "image/png, text/html;q=0.5": true} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", accept)
		if got := WantsHTML(r); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// A page of others whose name was made to point to this machine learns nothing. Behind another address any name is right.
func TestRebound(t *testing.T) {
	h := Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, x := range []struct {
		at, host string
		want     int
	}{
		{"127.0.0.1", "127.0.0.1:7071", 200}, {"127.0.0.1", "localhost:7071", 200}, {"127.0.0.1", "LocalHost", 200}, {"127.0.0.1", "", 200}, {"::1", "[::1]:7071", 200},
		{"::1", "[::1]", 200}, {"127.0.0.1", "evil.example:7071", 403}, {"127.0.0.1", "evil.example", 403}, {"127.0.0.1", "127.0.0.1.evil.example", 403}, {"::1", "localhost.evil.example", 403},
		{"192.0.2.7", "status.example.org", 200},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = x.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(x.at), Port: 7071}))
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != x.want {
			t.Errorf("host %q at %s: %d, want %d", x.host, x.at, w.Code, x.want)
		}
	}
}
