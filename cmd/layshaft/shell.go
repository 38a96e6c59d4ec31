package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report"
)

const shellHelp = `A statement ends with a semicolon and may have several lines. Tab completes files, the columns of the
files in FROM, functions and keywords. The arrow keys recall statements.

.schema FILE    the columns of a file
.explain QUERY  the operators of a query
.functions PART the functions whose names contain PART, or all
.output FORMAT  the output format: %s
.help           this text
.quit           the end, as ^D
`

// shell reads statements from a terminal and answers them.
type shell struct {
	c      *reportCmd
	t      *term.Terminal
	format string
	out    io.Writer
	// interrupted is set by ^C at the prompt.
	interrupted bool
	// words are the names of columns that were seen, for completion.
	words []string
	// lines are the lines of the unfinished statement.
	lines   []string
	history statements
}

// runShell reads statements until the end of the input. From a file or a pipe it reads one.
func (c *reportCmd) runShell(ctx context.Context) error {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(text)) == "" {
			_, err := c.text()
			return usageError{err}
		}
		return c.answer(ctx, string(text), c.format(), os.Stdout)
	}
	s := &shell{c: c, format: c.format(), out: os.Stdout}
	s.t = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&dropLine{os.Stdin, &s.interrupted}, os.Stdout}, "")
	s.t.AutoCompleteCallback, s.t.History = s.complete, &s.history
	fmt.Fprintln(s.out, "Statements end with a semicolon; .help lists commands.")
	return s.loop(ctx, func(prompt string) (string, error) {
		state, err := term.MakeRaw(in)
		if err != nil {
			return "", err
		}
		if w, h, err := term.GetSize(in); err == nil {
			_ = s.t.SetSize(w, h) // it fails only while the terminal is written to
		}
		s.t.SetPrompt(prompt)
		line, err := s.t.ReadLine()
		if restored := term.Restore(in, state); err == nil {
			err = restored
		}
		return line, err
	})
}

// dropLine turns ^C into the keys that drop the line and end it.
type dropLine struct {
	from        io.Reader
	interrupted *bool
}

// Read reads keys.
func (d *dropLine) Read(p []byte) (int, error) {
	const ctrlC, ctrlU = 3, 21
	n, err := d.from.Read(p[:max(1, len(p)-1)])
	if i := bytes.IndexByte(p[:n], ctrlC); i >= 0 && i+2 <= len(p) {
		p[i], p[i+1] = ctrlU, '\r'
		n, *d.interrupted = i+2, true
	}
	return n, err
}

// loop answers what read returns until its end. Errors of statements are printed.
func (s *shell) loop(ctx context.Context, read func(prompt string) (string, error)) error {
	for {
		prompt := "layshaft> "
		if len(s.lines) > 0 {
			prompt = "      ... "
		}
		line, err := read(prompt)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.interrupted {
			s.interrupted, s.lines = false, nil
			continue
		}
		trimmed := strings.TrimSpace(line)
		switch strings.TrimSuffix(strings.ToLower(trimmed), ";") {
		case "quit", "exit", `\q`:
			return nil
		}
		if len(s.lines) == 0 && (trimmed == "" || trimmed[0] == '.') {
			if trimmed == ".quit" || trimmed == ".exit" {
				return nil
			}
			s.history.record(trimmed)
			s.command(ctx, trimmed)
			continue
		}
		s.lines = append(s.lines, line)
		if strings.HasSuffix(trimmed, ";") {
			lines := s.lines
			s.lines = nil
			s.history.record(lines...)
			s.answer(ctx, strings.Join(lines, "\n"))
		}
	}
}

// command runs a command that begins with a dot.
func (s *shell) command(ctx context.Context, line string) {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSuffix(strings.TrimSpace(rest), ";")
	switch name {
	case "":
	case ".help":
		fmt.Fprintf(s.out, shellHelp, strings.Join(report.Formats(), ", "))
	case ".schema":
		s.answer(ctx, "DESCRIBE '"+strings.ReplaceAll(strings.Trim(rest, `'"`), "'", "''")+"'")
	case ".functions":
		printFunctions(s.out, rest)
	case ".explain":
		s.answer(ctx, "EXPLAIN "+rest)
	case ".output":
		if !slices.Contains(report.Formats(), rest) {
			fmt.Fprintln(s.out, plain.Text(strings.ReplaceAll(formatHint(rest, report.Formats()), "write -o ", "write .output ")))
			return
		}
		s.format = rest
	default:
		fmt.Fprintf(s.out, "command %s is not known; .help lists all\n", plain.Text(name))
	}
}

// answer runs a statement. ^C ends it, not the shell.
func (s *shell) answer(ctx context.Context, text string) {
	// the context of the process ends with the first ^C
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
	defer stop()
	if err := s.c.answer(ctx, text, s.format, s.out); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(s.out, plain.Lines(err.Error()))
	}
	s.words = append(s.words, s.c.seen...)
}

// completeWithin is how long a Tab may look at the files of a statement.
const completeWithin = 2 * time.Second

// complete completes the word before the cursor as far as it is certain, and lists what may follow.
func (s *shell) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	before := strings.Join(append(slices.Clone(s.lines), ""), "\n")
	for command, stands := range map[string]string{".schema ": "DESCRIBE ", ".explain ": "EXPLAIN "} {
		if rest, ok := strings.CutPrefix(line[:pos], command); ok && before == "" {
			line, pos, ok := s.completed(ctx, stands, rest+line[pos:], len(rest))
			return command + line, len(command) + pos, ok
		}
	}
	if strings.HasPrefix(line, ".") && before == "" {
		word := line[:pos]
		var found []string
		for _, c := range []string{".schema ", ".explain ", ".output ", ".functions ", ".help", ".quit"} {
			if strings.HasPrefix(c, word) {
				found = append(found, c)
			}
		}
		for _, f := range report.Formats() {
			if strings.HasPrefix(".output "+f, word) && strings.HasPrefix(word, ".output ") {
				found = append(found, ".output "+f)
			}
		}
		return s.choose(found, line, 0, pos)
	}
	return s.completed(ctx, before, line, pos)
}

// completed completes a word of a statement. before are its earlier lines.
func (s *shell) completed(ctx context.Context, before, line string, pos int) (string, int, bool) {
	o := report.Options{Types: splitTypes(s.c.Types)}
	start, found := o.Complete(ctx, s.c.target(), before+line, len(before)+pos)
	start -= len(before)
	if start < 0 {
		return "", 0, false
	}
	for _, w := range s.words { // columns of earlier results
		if word := line[start:pos]; word != "" && strings.HasPrefix(w, word) && !slices.Contains(found, w) && (start == 0 || line[start-1] != '\'') {
			found = append(found, w)
		}
	}
	return s.choose(found, line, start, pos)
}

// maxListed is how many possible words are listed.
const maxListed = 60

// choose puts the common start of the words in the place of line[start:pos]. If that is nothing
// new, it lists the words.
func (s *shell) choose(found []string, line string, start, pos int) (string, int, bool) {
	if len(found) == 0 {
		return "", 0, false
	}
	common := found[0]
	for _, f := range found[1:] {
		for !strings.HasPrefix(f, common) {
			common = common[:len(common)-1]
		}
	}
	if len(found) > 1 && len(common) <= pos-start {
		if s.t != nil {
			more := ""
			if len(found) > maxListed {
				found, more = found[:maxListed], fmt.Sprintf("  and %d more", len(found)-maxListed)
			}
			fmt.Fprintln(s.t, plain.Text(strings.Join(found, "  "))+more)
		}
		return "", 0, false
	}
	return line[:start] + common + line[pos:], start + len(common), true
}

// statements is the history of a terminal. It has whole statements, each in one line, and no lines
// of unfinished ones.
type statements struct{ all []string }

// maxStatements is how many statements are recalled.
const maxStatements = 500

// Add does nothing: the terminal adds each line, and the shell what belongs together.
func (*statements) Add(string) {}

// Len returns the number of statements.
func (h *statements) Len() int { return len(h.all) }

// At returns a statement, the latest first.
func (h *statements) At(i int) string { return h.all[len(h.all)-1-i] }

// record adds a statement or a command.
func (h *statements) record(lines ...string) {
	text := oneLine(lines)
	if text == "" || len(h.all) > 0 && h.all[len(h.all)-1] == text {
		return
	}
	if h.all = append(h.all, text); len(h.all) > maxStatements {
		h.all = h.all[1:]
	}
}

// oneLine joins lines, without the comments at their ends.
func oneLine(lines []string) string {
	var parts []string
	quote := byte(0)
	for _, line := range lines {
		end := len(line)
		for i := 0; i < end; i++ {
			switch c := line[i]; {
			case c == quote:
				quote = 0
			case quote == 0 && (c == '\'' || c == '"'):
				quote = c
			case quote == 0 && strings.HasPrefix(line[i:], "--"):
				end = i
			}
		}
		if part := strings.TrimSpace(line[:end]); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}
