package security

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/layshaft/layshaft/"

// callers lists the roles of the processes that run the code of a file or folder. The longest
// matching prefix counts. A call from anywhere else fails TestEveryCallIsPermitted.
var callers = map[string][]Role{
	"coordinator/":                           {Coordinator},
	"worker/":                                {Worker},
	"worker/aside.go#ListSetAside":           {Client}, // called by mapreduce
	"worker/diagnose.go#DiagnoseWorker":      {Client}, // called by the command line
	"internal/child/":                        nil,      // a private socket without roles
	"internal/client/":                       {Client},
	"internal/client/client.go#Commits":      {Client},
	"internal/client/client.go#GetCode":      {Worker}, // in tests only
	"internal/client/client.go#GetHistory":   {Client, Reader},
	"internal/client/client.go#GetProfile":   {Client, Reader},
	"internal/client/output.go#GetOutput":    {Client, Reader},
	"internal/client/client.go#GetSpec":      {Client, Reader},
	"internal/client/client.go#ListJobs":     {Client, Reader},
	"internal/client/members.go#ListMembers": {Client, Reader},
	"internal/client/client.go#Watch":        {Client, Reader},
	"internal/filesys/remote/lender.go":      {Client},
	"internal/filesys/remote/remote.go":      {Client, Coordinator, Worker}, // asks the holders of files
	"internal/filesys/remote/router.go":      {Client, Worker},              // lists the files of datasets
	"internal/outbox/":                       {Client},                      // a coordinator calls itself without the network
	"tasks/client_admin.go":                  {Client},
	"tasks/client_admin.go#GetTask":          {Client, Reader, Worker},
	"tasks/client_admin.go#CancelTasks":      {Client, Worker}, // a handler may cancel tasks it submitted
	"tasks/client_admin.go#List":             {Client, Reader},
	"tasks/client_admin.go#WatchFunctions":   {Client, Reader},
	"tasks/schedule.go":                      {Client},
	"tasks/schedule.go#List":                 {Client, Reader},
	"tasks/session.go":                       {Worker},
	"tasks/submit.go":                        {Client, Worker}, // a handler may submit more tasks
}

// listed is one package of `go list -export -deps -json`.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// TestEveryCallIsPermitted finds every call of a gRPC method in the source and looks it up in the
// table of permitted methods, for every role whose processes run that code. A call that the table
// refuses works in all tests without certificates and never with them.
func TestEveryCallIsPermitted(t *testing.T) {
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports", "./...")
	list.Dir, list.Stderr = filepath.Join("..", ".."), os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		generated := slices.ContainsFunc(p.Imports, func(i string) bool { return strings.HasPrefix(i, module+"proto/") })
		if rest, ours := strings.CutPrefix(p.ImportPath, module); ours && generated && !strings.HasPrefix(rest, "proto/") && !strings.HasPrefix(rest, "bench/") {
			packages = append(packages, p)
		}
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	found := map[string]bool{}
	for _, p := range packages {
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
		if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, fset, files, info); err != nil {
			t.Fatal(err)
		}
		for sel, s := range info.Selections {
			method := rpcMethod(s)
			if method == "" {
				continue
			}
			found[method] = true
			at := fset.Position(sel.Pos())
			file := strings.TrimPrefix(p.ImportPath, module) + "/" + filepath.Base(at.Filename)
			roles, known := rolesOf(file, sel.Sel.Name)
			if !known {
				t.Errorf("%s:%d calls %s: say in callers which processes run this code", file, at.Line, method)
			}
			for _, r := range roles {
				if !slices.Contains(methods[method], r) {
					t.Errorf("%s:%d calls %s as %s, but only %v may; add the role to methods", file, at.Line, method, r, methods[method])
				}
			}
		}
	}
	for _, m := range schema() {
		if !found[m] && !strings.HasPrefix(m, "/layshaft.runner.") {
			t.Errorf("no code calls %s: remove it, or teach this test to find the call", m)
		}
	}
}

// rpcMethod returns the full name of a gRPC method; "" if s is something else.
func rpcMethod(s *types.Selection) string {
	f, ok := s.Obj().(*types.Func)
	if !ok || f.Pkg() == nil || !strings.HasPrefix(f.Pkg().Path(), module+"proto/") {
		return ""
	}
	recv := f.Signature().Recv()
	if recv == nil {
		return ""
	}
	named, ok := recv.Type().(*types.Named)
	if !ok {
		return ""
	}
	service, isClient := strings.CutSuffix(named.Obj().Name(), "ServiceClient")
	if !isClient {
		return ""
	}
	call := fmt.Sprintf("%sService/%s", service, f.Name())
	for _, m := range schema() { // the path of a Go package does not tell the package of the schema
		if strings.HasSuffix(m, "."+call) {
			return m
		}
	}
	return call
}

// rolesOf returns the roles of the processes that make a call.
func rolesOf(file, method string) (roles []Role, known bool) {
	best := -1
	for prefix, r := range callers {
		if strings.HasPrefix(file+"#"+method, prefix) && len(prefix) > best {
			roles, known, best = r, true, len(prefix)
		}
	}
	return roles, known
}
