package manual

import (
	"fmt"
	"strings"
)

// Man returns the manual pages of a command and of all below it, by file name. version is shown at
// the foot.
func (c Command) Man(version string) map[string]string {
	pages := map[string]string{}
	for _, c := range c.All() {
		name := strings.ReplaceAll(c.Path, " ", "-")
		pages[name+".1"] = c.page(name, version)
	}
	return pages
}

func (c Command) page(name, version string) string {
	var out strings.Builder
	first, _, _ := strings.Cut(strings.ReplaceAll(c.Help, "\n", " "), ". ")
	fmt.Fprintf(&out, ".TH %s 1 \"\" %s\n.SH NAME\n%s \\- %s\n", quote(strings.ToUpper(name)), quote("Layshaft "+version), roff(name), roff(strings.TrimSuffix(first, ".")))
	fmt.Fprintf(&out, ".SH SYNOPSIS\n.B %s\n", roff(c.usage()))
	if len(c.Commands) > 0 {
		fmt.Fprintf(&out, ".br\n.B %s\n", roff(c.Path+" COMMAND"))
	}
	fmt.Fprintf(&out, ".SH DESCRIPTION\n%s\n", roff(c.Help))
	list := func(title string, flags []Flag) {
		if len(flags) == 0 {
			return
		}
		fmt.Fprintf(&out, ".SH %s\n", title)
		for _, f := range flags {
			fmt.Fprintf(&out, ".TP\n\\fB%s\\fR", roff(f.Name))
			if f.Value != "" {
				fmt.Fprintf(&out, " \\fI%s\\fR", roff(f.Value))
			}
			fmt.Fprintf(&out, "\n%s\n", roff(f.Help))
			if f.Default != "" {
				fmt.Fprintf(&out, "Default: %s.\n", roff(f.Default))
			}
			if f.Env != "" {
				fmt.Fprintf(&out, "Environment: %s.\n", roff(f.Env))
			}
		}
	}
	list("ARGUMENTS", c.Args)
	list("OPTIONS", c.Flags)
	if len(c.Commands) > 0 {
		out.WriteString(".SH COMMANDS\n")
		for _, child := range c.Commands {
			fmt.Fprintf(&out, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(strings.ReplaceAll(child.Path, " ", "-")), roff(child.Help))
		}
	}
	return out.String()
}

// roff escapes a text.
func roff(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\(dq`) + `"` }

// words returns what may follow a command: subcommands and flags.
func (c Command) words() []string {
	var out []string
	for _, child := range c.Commands {
		out = append(out, child.lastWord())
	}
	for _, f := range c.Flags {
		out = append(out, f.Name)
	}
	return append(out, "-help")
}

// Completion returns a script for bash, zsh or fish. It completes commands, flags, the choices of
// flags and files. Another shell is an error.
func (c Command) Completion(shell string) (string, error) {
	switch shell {
	case "bash":
		return "# Completion for bash: source <(layshaft completion bash)\n" + c.bash(), nil
	case "zsh":
		return "#compdef layshaft\n# Completion for zsh: source <(layshaft completion zsh)\nautoload -Uz bashcompinit && bashcompinit\n" + c.bash(), nil
	case "fish":
		return c.fish(), nil
	}
	return "", fmt.Errorf("no completion for %q: use bash, zsh or fish", shell)
}

func (c Command) bash() string {
	var paths, words, choices strings.Builder
	seen := map[string]bool{}
	for i, c := range c.All() {
		path := strings.TrimPrefix(c.Path, "layshaft")
		if i > 0 {
			fmt.Fprintf(&paths, "\t\t%q) at=\"$at $word\" ;;\n", path)
		}
		fmt.Fprintf(&words, "\t%q) words=%q ;;\n", path, strings.Join(c.words(), " "))
		for _, f := range c.Flags {
			if line := fmt.Sprintf("\t%q) words=%q ;;\n", path+" "+f.Name, strings.Join(f.Choices, " ")); len(f.Choices) > 0 && !seen[line] {
				seen[line] = true
				choices.WriteString(line)
			}
		}
	}
	return `_layshaft() {
	local at= word words= i
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case "$at $word" in
` + paths.String() + `		esac
	done
	case "$at ${COMP_WORDS[COMP_CWORD-1]}" in
` + choices.String() + `	esac
	[ -n "$words" ] || case "$at" in
` + words.String() + `	esac
	COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _layshaft layshaft
`
}

func (c Command) fish() string {
	var out strings.Builder
	out.WriteString(`# Completion for fish: layshaft completion fish | source
function __layshaft_at
	set -l words (commandline -opc)
	set -l at
	for word in $words[2..-1]
		string match -q -- '-*' $word; or set -a at $word
	end
	test "$at" = "$argv[1]"; and return
	test -z "$argv[2]"; and string match -q -- "$argv[1] *" "$at"
end
`)
	one := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
	for _, c := range c.All() {
		path := strings.TrimPrefix(strings.TrimPrefix(c.Path, "layshaft"), " ")
		at := one("__layshaft_at " + one(path))
		for _, child := range c.Commands {
			fmt.Fprintf(&out, "complete -c layshaft -f -n %s -a %s -d %s\n", one("__layshaft_at "+one(path)+" only"), child.lastWord(), one(child.Help))
		}
		for _, f := range c.Flags {
			fmt.Fprintf(&out, "complete -c layshaft -n %s -o %s -d %s", at, strings.TrimPrefix(f.Name, "-"), one(f.Help))
			if f.Value != "" {
				out.WriteString(" -r")
			}
			if len(f.Choices) > 0 {
				fmt.Fprintf(&out, " -f -a %s", one(strings.Join(f.Choices, " ")))
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// lastWord returns the last word of the path.
func (c Command) lastWord() string { return c.Path[strings.LastIndexByte(c.Path, ' ')+1:] }
