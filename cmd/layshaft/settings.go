package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

var longFlag = regexp.MustCompile(`^-[a-zA-Z][a-zA-Z0-9-]+(=.*)?$`)

// acceptOneDash accepts long flags with one dash, as in -join ADDR.
func acceptOneDash(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if a == "--" {
			copy(out[i:], args[i:])
			break
		}
		if out[i] = a; longFlag.MatchString(a) {
			out[i] = "-" + a
		}
	}
	return out
}

var (
	twoDashes = regexp.MustCompile(`(^|[\s\[("=])--([a-zA-Z])`)
	inColumn  = regexp.MustCompile(`(^|\s)--([a-zA-Z]\S*)(  |\n)`)
)

// oneDash rewrites the flags in a text with one dash, as in the documentation. Columns stay
// aligned.
func oneDash(text string) string {
	return twoDashes.ReplaceAllString(inColumn.ReplaceAllString(text, "$1-$2 $3"), "$1-$2")
}

// config is a config file.
type config struct {
	name  string
	lines map[string][]setting
}

type setting struct {
	line  int
	value string
}

// readConfig reads a config file: lines flag = value, empty lines and comments. A value may be
// quoted like a Go string.
func readConfig(r io.Reader) (kong.Resolver, error) {
	c := &config{name: "config file", lines: map[string][]setting{}}
	if f, ok := r.(*os.File); ok {
		c.name = f.Name()
	}
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		text := strings.TrimSpace(in.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		key, value = strings.TrimLeft(strings.TrimSpace(key), "-"), strings.TrimSpace(value)
		if !ok || key == "" {
			return nil, fmt.Errorf("%s:%d: %q is not of the form flag = value", c.name, n, text)
		}
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				return nil, fmt.Errorf("%s:%d: %s: the quoted value is not closed, or something follows it", c.name, n, key)
			}
		}
		c.lines[key] = append(c.lines[key], setting{n, value})
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return c, nil
}

// Validate refuses flags unknown to every command: one file may serve several commands.
func (c *config) Validate(app *kong.Application) error {
	known := map[string]bool{}
	_ = kong.Visit(app, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok {
			known[f.Name] = true
		}
		return next(nil)
	})
	for key, lines := range c.lines {
		if !known[key] {
			return fmt.Errorf("%s:%d: there is no flag %q", c.name, lines[0].line, key)
		}
	}
	return nil
}

// Resolve returns the value of a flag, unless the environment has one.
func (c *config) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	lines := c.lines[f.Name]
	if len(lines) == 0 || fromEnvironment(f) {
		return nil, nil
	}
	if len(lines) == 1 {
		return lines[0].value, nil
	}
	switch {
	case f.IsMap():
		values := map[string]any{}
		for _, l := range lines {
			key, value, ok := strings.Cut(l.value, "=")
			if _, twice := values[key]; !ok || twice {
				return nil, fmt.Errorf("%s:%d: %q must be NAME=VALUE, each name once", c.name, l.line, l.value)
			}
			values[key] = value
		}
		return values, nil
	case f.IsSlice():
		values := make([]any, len(lines))
		for i, l := range lines {
			values[i] = l.value
		}
		return values, nil
	}
	return nil, fmt.Errorf("%s:%d: already set in line %d", c.name, lines[1].line, lines[0].line)
}

func fromEnvironment(f *kong.Flag) bool {
	for _, env := range f.Envs {
		if _, set := os.LookupEnv(env); set {
			return true
		}
	}
	return false
}

// logSettings logs the effective value of every flag of a command, grouped by source, and returns
// that line.
func logSettings(ctx *kong.Context, log *slog.Logger) string {
	given := map[*kong.Flag]string{}
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Resolved {
			given[p.Flag] = "config"
		} else if p.Flag != nil {
			given[p.Flag] = "flags"
		}
	}
	sources := map[string][]any{}
	for _, f := range ctx.Flags() {
		source := given[f]
		switch {
		case f.Name == "help" || f.Hidden:
			continue
		case source != "":
		case fromEnvironment(f):
			source = "environment"
		default:
			source = "defaults"
		}
		v := ctx.FlagValue(f)
		if source == "defaults" && reflect.ValueOf(v).IsZero() {
			continue
		}
		if f.Name == "gossip-key" {
			v = "secret"
		}
		sources[source] = append(sources[source], slog.Any(f.Name, v))
	}
	var groups []any
	for _, source := range []string{"flags", "environment", "config", "defaults"} {
		groups = append(groups, slog.Group(source, sources[source]...))
	}
	log.Info("settings", groups...)
	var text strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("settings", groups...)
	return text.String()
}
