package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/report"
)

const shellHelp = `A statement ends with a semicolon and may have several lines. Tab completes files and columns.

.schema FILE    the columns of a file
.explain QUERY  the operators of a query
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
	s.t.AutoCompleteCallback = s.complete
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
	var lines []string
	for {
		prompt := "layshaft> "
		if len(lines) > 0 {
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
			s.interrupted, lines = false, nil
			continue
		}
		trimmed := strings.TrimSpace(line)
		switch strings.TrimSuffix(strings.ToLower(trimmed), ";") {
		case "quit", "exit", `\q`:
			return nil
		}
		if len(lines) == 0 && (trimmed == "" || trimmed[0] == '.') {
			if trimmed == ".quit" || trimmed == ".exit" {
				return nil
			}
			s.command(ctx, trimmed)
			continue
		}
		lines = append(lines, line)
		if strings.HasSuffix(trimmed, ";") {
			s.answer(ctx, strings.Join(lines, "\n"))
			lines = nil
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
	case ".explain":
		s.answer(ctx, "EXPLAIN "+rest)
	case ".output":
		if !slices.Contains(report.Formats(), rest) {
			fmt.Fprintf(s.out, "format %q is not known; use %s\n", rest, strings.Join(report.Formats(), ", "))
			return
		}
		s.format = rest
	default:
		fmt.Fprintf(s.out, "command %s is not known; .help lists all\n", name)
	}
}

// answer runs a statement. ^C ends it, not the shell.
func (s *shell) answer(ctx context.Context, text string) {
	// the context of the process ends with the first ^C
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
	defer stop()
	if err := s.c.answer(ctx, text, s.format, s.out); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(s.out, err)
	}
	s.words = append(s.words, s.c.seen...)
}

// complete completes the word before the cursor with a column or a file, as far as it is certain.
func (s *shell) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	start := strings.LastIndexAny(line[:pos], " \t\n'\"(,=") + 1
	word := line[start:pos]
	if word == "" {
		return "", 0, false
	}
	var found []string
	for _, w := range s.words {
		if strings.HasPrefix(w, word) {
			found = append(found, w)
		}
	}
	paths, _ := filepath.Glob(word + "*") // a word that is no pattern completes no file
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			p += "/"
		}
		found = append(found, p)
	}
	if len(found) == 0 {
		return "", 0, false
	}
	common := found[0]
	for _, f := range found[1:] {
		for !strings.HasPrefix(f, common) {
			common = common[:len(common)-1]
		}
	}
	return line[:start] + common + line[pos:], start + len(common), true
}
