package child

import (
	"bytes"
	"io"
	"log"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
)

// Standard output and error of a child are one pipe to the worker. Tags in it tell the worker which
// attempt wrote a line:
//
//	RS + ATTEMPT RS    the attempt begins
//	RS - ATTEMPT RS    the attempt ends
//	RS = ATTEMPT RS    the rest of this line is of that attempt
//
// RS is the character 0x1e. The lines of packages log and slog have the third tag: the writer of
// package log finds the attempt in the labels of the goroutine. Other lines belong to the attempts
// that run at this place of the pipe.

const (
	tagByte   = 0x1e
	tagBegins = '+'
	tagEnds   = '-'
	tagLine   = '='
)

var (
	tagForm = regexp.MustCompile("\x1e([-+=])([0-9]{1,10}/[0-9]{1,10}#[0-9]{1,10})\x1e\n?")
	// atEnd is the tag of a beginning or an end, at the end of its line.
	atEnd = regexp.MustCompile("\x1e[-+][0-9]{1,10}/[0-9]{1,10}#[0-9]{1,10}\x1e$")
)

const (
	// MaxTag is more bytes than a tag has.
	MaxTag = 64
	// maxRunning limits the attempts that a child says it runs.
	maxRunning = 1 << 12
)

// KeepTag returns what is kept of a line that is too long: the tag at its end stays. rest are at
// least the last MaxTag bytes of what was cut off, or all of it.
func KeepTag(line, rest []byte) []byte {
	n := len(line)
	line = append(line, rest...)
	at := atEnd.FindIndex(line)
	if at == nil {
		return line[:n]
	}
	return append(line[:min(n, at[0])], line[at[0]:]...)
}

// Untag returns a child's output without tags.
func Untag(text string) string {
	if strings.IndexByte(text, tagByte) < 0 {
		return text
	}
	return tagForm.ReplaceAllString(text, "")
}

// Written is a piece of a child's output.
type Written struct {
	Text []byte // without tags and without the end of the line
	// Attempts are the attempts that may have written it. It is shared, and nil if the child does
	// not report its attempts.
	Attempts []string
}

// Untagger assigns the lines of a child's output to attempts. The zero value is ready.
type Untagger struct {
	running []string // never changed, only replaced
	tagged  bool     // the child writes tags
}

// Line passes the pieces of one line, without its end, to emit. Text is valid during the call.
func (u *Untagger) Line(line []byte, emit func(Written)) {
	if bytes.IndexByte(line, tagByte) < 0 {
		emit(Written{line, u.running})
		return
	}
	of, some := u.running, false
	for {
		at := tagForm.FindSubmatchIndex(line)
		if at == nil {
			break
		}
		if before := line[:at[0]]; len(before) > 0 {
			emit(Written{before, of})
			some = true
		}
		attempt := string(line[at[4]:at[5]])
		switch u.tagged = true; line[at[2]] {
		case tagBegins:
			if len(u.running) < maxRunning && !slices.Contains(u.running, attempt) {
				u.running = append(u.running[:len(u.running):len(u.running)], attempt)
			}
			of, some = u.running, true
		case tagEnds:
			rest := []string{}
			for _, a := range u.running {
				if a != attempt {
					rest = append(rest, a)
				}
			}
			u.running = rest
			of, some = u.running, true
		case tagLine:
			of, some = []string{attempt}, false
		}
		line = line[at[1]:]
	}
	if len(line) > 0 || !some {
		emit(Written{line, of})
	}
}

// tagger is the writer of package log in a child. It tags each line with the attempt whose
// goroutine writes it.
type tagger struct{ to io.Writer }

func (t tagger) Write(p []byte) (int, error) {
	a := currentAttempt()
	if a == "" {
		return t.to.Write(p)
	}
	b := make([]byte, 0, len(p)+len(a)+4)
	for line := range bytes.Lines(p) {
		b = append(b, tagByte, tagLine)
		b = append(b, a...)
		b = append(b, tagByte)
		b = append(b, line...)
	}
	if _, err := t.to.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

var labelForm = regexp.MustCompile(`labels:\{"` + call.Label + `": "([0-9]+/[0-9]+#[0-9]+)"`)

// currentAttempt returns the attempt in the labels of this goroutine, or "". The runtime prints the
// labels because the worker sets GODEBUG=tracebacklabels=1.
func currentAttempt() string {
	var buf [512]byte
	head, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte("\n"))
	if m := labelForm.FindSubmatch(head); m != nil {
		return string(m[1])
	}
	return ""
}

// tagOutput makes this process tag its output. It returns the writer for beginnings and ends.
func tagOutput() io.Writer {
	if log.Writer() == io.Writer(os.Stderr) { // else the program writes its log elsewhere
		log.SetOutput(tagger{os.Stderr})
	}
	return os.Stderr
}

// tag writes the beginning or the end of an attempt.
func (s *server) tag(kind byte, a job.Attempt) {
	if s.tags == nil {
		return
	}
	b := append([]byte{tagByte, kind}, a.String()...)
	_, _ = s.tags.Write(append(b, tagByte, '\n')) // without a reader nobody needs tags
}
