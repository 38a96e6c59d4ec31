package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/internal/plain"
)

// examples has a command line for each command that cannot run without arguments.
var examples = map[string]string{
	"coordinator":                "layshaft coordinator -data /var/lib/layshaft",
	"coordinator backup":         "layshaft coordinator backup cluster.backup",
	"coordinator members add":    "layshaft coordinator members add c4:7070   (start it first, with an empty directory and -peers)",
	"coordinator members remove": "layshaft coordinator members remove c3:7070   (layshaft coordinator members shows IDs and addresses)",
	"coordinator recover":        "layshaft coordinator recover -data /var/lib/layshaft   (on the machine of the coordinator that is left)",
	"coordinator restore":        "layshaft coordinator restore cluster.backup -data /var/lib/layshaft",
	"worker":                     "layshaft worker -join 127.0.0.1:7946 -data /var/lib/layshaft-worker",
	"worker drain":               "layshaft worker drain host-ab12cd   (layshaft worker list shows the names)",
	"job show":                   "layshaft job show report-1a2b   (layshaft job list shows the IDs)",
	"job cancel":                 "layshaft job cancel report-1a2b   (layshaft job list shows the IDs)",
	"job wait":                   "layshaft job wait report-1a2b   (layshaft job list shows the IDs)",
	"history":                    "layshaft history /var/lib/layshaft   (lists the jobs; add the ID of one)",
	"job rerun-quarantine":       "layshaft job rerun-quarantine report-1a2b -- ./report -day 2026-11-30",
	"job profile":                "layshaft job profile report-1a2b -html flame.html",
	"job trace":                  "layshaft job trace report-1a2b > run.json   (layshaft job list shows the IDs)",
	"job attempt":                "layshaft job attempt report-1a2b 0/17#2   (layshaft job report shows the attempts)",
	"job logs":                   "layshaft job logs report-1a2b   (layshaft job list shows the IDs)",
	"manual":                     "layshaft manual /usr/local/share/man/man1",
	"job report":                 "layshaft job report report-1a2b   (layshaft job list shows the IDs)",
	"task do":                    "layshaft task do resize <photo.png   (or -input TEXT)",
	"task submit":                "layshaft task submit resize <photo.png   (or -input TEXT)",
	"debug bundle":               "layshaft debug bundle, or: layshaft debug bundle -cluster HOST:7070 bundle.tar.gz",
	"task wait":                  "layshaft task wait 3d0900   (layshaft task list shows the IDs), or: layshaft task wait -function resize -unique photo",
	"task cancel":                "layshaft task cancel 3d0900   (layshaft task list shows the IDs)",
	"task run-now":               "layshaft task run-now 3d0900   (layshaft task list shows the IDs)",
	"task retry":                 "layshaft task retry 3d0900   (layshaft task dead shows the IDs), or: layshaft task retry -function resize",
	"task replay":                "layshaft task replay report-1a2b/0/17#2 -- ./program   (layshaft job report shows failed attempts), or: layshaft task replay 3d0900 -- ./worker",
	"task drop":                  "layshaft task drop 3d0900   (layshaft task dead shows the IDs), or: layshaft task drop -function resize",
	"schedule":                   "layshaft schedule run nightly",
	"schedule add":               "layshaft schedule add nightly '30 2 * * *' -tz Europe/Berlin -- catalog -in dataset://products/*.csv",
	"schedule show":              "layshaft schedule show nightly",
	"schedule remove":            "layshaft schedule remove nightly",
	"schedule pause":             "layshaft schedule pause nightly",
	"schedule resume":            "layshaft schedule resume nightly",
	"schedule work":              "layshaft schedule work -program catalog=/usr/local/bin/catalog",
	"task pause":                 "layshaft task pause resize",
	"task resume":                "layshaft task resume resize",
	"task limit":                 "layshaft task limit resize -concurrency 4",
	"task budget":                "layshaft task budget database 20",
	"task work":                  "layshaft task work -function resize -- ./resize.sh",
	"pg install":                 "layshaft pg install shop   (LAYSHAFT_PG_shop holds the connection string)",
	"pg uninstall":               "layshaft pg uninstall shop",
	"pg forward":                 "layshaft pg forward shop",
	"pg replicate":               "layshaft pg replicate shop -function index -create",
	"pg status":                  "layshaft pg status shop",
	"state list":                 "layshaft state list /var/lib/reports",
	"state drop":                 "layshaft state drop /var/lib/reports -done",
	"completion":                 "source <(layshaft completion bash)",
	"new":                        "layshaft new orders orders.csv",
	"vet":                        "layshaft vet ./...",
	"cert issue":                 "layshaft cert issue -role worker -name host1",
}

// usage returns the name of a command, and the text about how to call it.
func usage(node *kong.Node) (name, text string) {
	name = "layshaft"
	if node == nil || node.Parent == nil {
		return name, "for help: layshaft -h, or layshaft COMMAND -h"
	}
	for n := node; n.Parent != nil; n = n.Parent {
		if n.Type == kong.ArgumentNode || n.Parent.DefaultCmd == n {
			node = n.Parent
		}
	}
	path := strings.TrimPrefix(strings.TrimSpace(node.Path()), "layshaft ")
	name += " " + path
	text = "usage: " + oneDash(strings.TrimSpace(node.Summary()))
	if node.DefaultCmd != nil {
		text = "usage: " + strings.Replace(oneDash(strings.TrimSpace(node.DefaultCmd.Summary())), path+" "+node.DefaultCmd.Name, path, 1)
	}
	if !strings.HasPrefix(text, "usage: layshaft") {
		text = "usage: layshaft " + strings.TrimPrefix(text, "usage: ")
	}
	if e := examples[path]; e != "" {
		text += "\nexample: " + e
	}
	return name, text + "\nfor help: " + name + " -h"
}

// reportParse reports an error of the command line, and returns the exit code. A group of commands
// without a command, and no command at all, are requests for help.
func reportParse(parser *kong.Kong, args []string, err error) int {
	var node *kong.Node
	if pe := (*kong.ParseError)(nil); errors.As(err, &pe) && pe.Context != nil {
		node = pe.Context.Selected()
	}
	what := oneDash(err.Error())
	if strings.HasPrefix(what, "expected one of") {
		if _, err := parser.Parse(append(acceptOneDash(args), "--help")); err == nil {
			return 0 // else it has ended the process
		}
	}
	name, text := usage(node)
	what = strings.NewReplacer(`missing argument "<key>=<value>" but got`, "expected NAME=VALUE but got", `expected "<key>=<value>" but got`, "expected NAME=VALUE but got",
		`expected "<`, `missing argument "<`, "missing flags:", "missing flags").Replace(what)
	if m := negative.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("%s: %q begins with a dash, as flags do; if it is meant, write %s=%s", m[1], m[2], m[1], m[2])
	} else if m := negativeArgument.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("%q begins with a dash, as flags do; if it is meant, put -- in front of the arguments", m[1])
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n%s\n", name, plain.Lines(what), text)
	return exitUsage
}

// negative matches what kong prints about a value that looks like a flag, and negativeArgument
// what it prints about such an argument.
var (
	negative         = regexp.MustCompile(`^(-[a-z-]+): expected \w+ value but got "(-[^"]*)" \(short flag\)`)
	negativeArgument = regexp.MustCompile(`^unknown flag (-[0-9][^ ,]*)`)
)

// missingArgument is a usageError about an argument that the grammar cannot demand.
type missingArgument struct{ error }

func missing(text string) error { return usageError{missingArgument{errors.New(text)}} }
