// Package manual makes the reference, the manual pages and the shell completion of the command line
// from its grammar.
package manual

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Command is a command or a group of commands.
type Command struct {
	Path     string // such as "layshaft task do"
	Help     string
	Args     []Flag    // positional arguments
	Flags    []Flag    // own flags, sorted by name
	Commands []Command // empty for a command without subcommands
	Runs     bool      // it can be called without a subcommand
}

// Flag is a flag or an argument.
type Flag struct {
	Name    string // with a dash; an argument has brackets
	Value   string // placeholder; empty for a switch
	Help    string
	Env     string
	Default string
	Choices []string
}

// Of returns the commands of a grammar. Hidden commands and flags are left out.
func Of(app *kong.Application) Command {
	return commandOf(app.Node, "layshaft")
}

func commandOf(n *kong.Node, path string) Command {
	c := Command{Path: path, Help: cmp.Or(n.Help, n.Detail), Runs: len(n.Children) == 0}
	add := func(n *kong.Node) {
		for _, p := range n.Positional {
			name := "<" + p.Name + ">"
			if p.IsCumulative() {
				name += "..."
			}
			if !p.Required {
				name = "[" + name + "]"
			}
			c.Args = append(c.Args, Flag{Name: name, Help: p.OrigHelp})
		}
		for _, f := range n.Flags {
			if !f.Hidden && f.Name != "help" {
				c.Flags = append(c.Flags, flagOf(f))
			}
		}
	}
	add(n)
	for _, child := range n.Children {
		switch {
		case child == n.DefaultCmd:
			c.Runs = true
			add(child)
		case child.Type == kong.ArgumentNode:
			c.Runs = true
			add(child)
		case !child.Hidden:
			c.Commands = append(c.Commands, commandOf(child, path+" "+child.Name))
		}
	}
	slices.SortStableFunc(c.Flags, func(a, b Flag) int { return strings.Compare(a.Name, b.Name) })
	return c
}

func flagOf(f *kong.Flag) Flag {
	out := Flag{Name: "-" + f.Name, Help: f.OrigHelp, Default: f.Default}
	if len(f.Envs) > 0 {
		out.Env = f.Envs[0]
	}
	if !f.IsBool() && !f.IsCounter() {
		out.Value = strings.Trim(cmp.Or(f.PlaceHolder, strings.ToUpper(f.Name)), `"`)
		if f.Enum != "" {
			out.Choices = strings.Split(f.Enum, ",")
		}
	}
	return out
}

// All returns a command and all below it, in the order of the grammar.
func (c Command) All() []Command {
	out := []Command{c}
	for _, child := range c.Commands {
		out = append(out, child.All()...)
	}
	return out
}

// usage returns the line that shows how to call a command.
func (c Command) usage() string {
	line := c.Path
	for _, a := range c.Args {
		line += " " + a.Name
	}
	if len(c.Flags) > 0 {
		line += " [flags]"
	}
	return line
}

// Markdown returns the commands with their arguments and flags as a part of a document.
func (c Command) Markdown() string {
	var out strings.Builder
	for _, c := range c.All()[1:] {
		if !c.Runs {
			continue
		}
		fmt.Fprintf(&out, "### %s\n\n```\n%s\n```\n\n%s\n\n", c.Path, c.usage(), wrap(c.Help, 100))
		if len(c.Args)+len(c.Flags) == 0 {
			continue
		}
		out.WriteString("| | | default |\n|---|---|---|\n")
		for _, f := range slices.Concat(c.Args, c.Flags) {
			name := f.Name
			if f.Value != "" {
				name += " " + f.Value
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", cell(name), cell(text(f.Help)), cell(quoted(f.Default)))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// cell returns a text for a table of Markdown.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ")
}

// text keeps Markdown from reading what is in angle brackets or after stars.
func text(s string) string { return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(s) }

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// wrap breaks a paragraph into lines of at most width.
func wrap(s string, width int) string {
	var out strings.Builder
	column := 0
	for word := range strings.FieldsSeq(s) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}
