package mapreduce

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/layshaft/layshaft/internal/spelling"
)

// shortErrors is the output of a flag set that ends the process after an error. Package flag prints
// the error and then all flags, which hide it on a screen. shortErrors prints the error, a
// correction, and how to see the flags; it drops what follows. Help has no error before it, so it
// is printed whole.
type shortErrors struct {
	fs     *flag.FlagSet
	to     io.Writer
	failed bool
}

// flagError matches the errors of package flag. Its groups are the name of the flag and the cause.
var flagError = regexp.MustCompile(`^(?:flag provided but not defined: -|flag needs an argument: -|bad flag syntax: |invalid (?:boolean )?value .* for (?:flag )?-)([^:\n]*)(?:: ([^\n]*))?\n$`)

func (w *shortErrors) Write(b []byte) (int, error) {
	if w.failed {
		return len(b), nil
	}
	m := flagError.FindSubmatch(b)
	if m == nil {
		return w.to.Write(b)
	}
	w.failed = true
	text := w.hint(string(m[1]), string(m[2]))
	_, err := fmt.Fprintf(w.to, "%s%s\nfor all flags: %s -h\n", bytes.TrimSuffix(b, []byte("\n")), text, filepath.Base(os.Args[0]))
	return len(b), err
}

// hint returns what follows an error about the flag of a name.
func (w *shortErrors) hint(name, why string) string {
	f := w.fs.Lookup(name)
	if f == nil {
		var names []string
		w.fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		if near := spelling.Nearest(name, names); near != "" {
			return fmt.Sprintf("; did you mean -%s?", near)
		}
		return ""
	}
	if g, ok := f.Value.(flag.Getter); ok && why == "parse error" {
		switch g.Get().(type) {
		case time.Duration:
			return "; write a time with its unit, such as 10s, 5m or 2h"
		case bool:
			return fmt.Sprintf("; write -%s or -%s=false", name, name)
		default:
			return "; write a number"
		}
	}
	arg, usage := flag.UnquoteUsage(f)
	return fmt.Sprintf("\n  -%s %s: %s", name, arg, usage)
}
