package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/tasks"
)

// meanings are the environment variables of all flags: for each variable the types of its values,
// with one flag of each type.
type meanings map[string]map[string]string

func (m meanings) add(variable, kind, flag string) {
	if m[variable] == nil {
		m[variable] = map[string]string{}
	}
	m[variable][kind] = flag
}

// addFlags adds the flags of programs of a package.
func (m meanings) addFlags(name string, fs *flag.FlagSet) {
	fs.VisitAll(func(f *flag.Flag) {
		kind := strings.ToLower(strings.TrimSuffix(regexp.MustCompile(`^\*?\w+\.`).ReplaceAllString(fmt.Sprintf("%T", f.Value), ""), "Value"))
		kind = strings.NewReplacer("tagsflag", "list", "budgetflag", "list", "int64", "int").Replace(kind)
		m.add("LAYSHAFT_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), kind, name+" -"+f.Name)
	})
}

// addCommands adds the flags of the command line.
func (m meanings) addCommands(t *testing.T) {
	t.Helper()
	path := ""
	err := kong.Visit(newParser(new(cli)).Model, func(n kong.Visitable, next kong.Next) error {
		switch n := n.(type) {
		case *kong.Application:
			path = n.Name
		case *kong.Node:
			path = n.FullPath()
		case *kong.Flag:
			value := n.Target.Type()
			if value.Kind() == reflect.Pointer {
				value = value.Elem()
			}
			kind := strings.ToLower(value.Name())
			switch {
			case n.IsSlice(), n.IsMap():
				kind = "list"
			case value.Kind() == reflect.String:
				kind = "string"
			case value == reflect.TypeFor[int64](), value == reflect.TypeFor[uint64]():
				kind = "int"
			}
			for _, v := range n.Envs {
				m.add(v, kind, path+" -"+n.Name)
			}
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// otherReaders are the places outside the flags that name a variable of a flag, each with the
// meaning of the flag.
var otherReaders = []string{
	"cmd/layshaft/main.go LAYSHAFT_CONFIG",           // whether there is a file of -config
	"cmd/layshaft/schedule_work.go LAYSHAFT_CLUSTER", // -cluster of the programs that it starts
}

// TestVariablesHaveOneMeaning checks that the environment variable of a flag has the same type of
// value for each program and command, and that no code reads or sets it with another meaning.
func TestVariablesHaveOneMeaning(t *testing.T) {
	variables := meanings{}
	variables.addCommands(t)
	for name, register := range map[string]func(*flag.FlagSet){"a pipeline": func(fs *flag.FlagSet) { mapreduce.Flags(fs) }, "a task program": func(fs *flag.FlagSet) { tasks.Flags(fs) }} {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		register(fs)
		variables.addFlags(name, fs)
	}
	if len(variables) < 100 {
		t.Errorf("only %d variables were found", len(variables))
	}
	for variable, kinds := range variables {
		if len(kinds) > 1 {
			t.Errorf("%s has values of several types; give one of the flags a variable of its own in ownVariables: %v", variable, kinds)
		}
	}
	name := regexp.MustCompile(`^(LAYSHAFT_[A-Z0-9_]+)(=.*)?$`)
	root := filepath.Join("..", "..")
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), `"LAYSHAFT_`) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			if m := name.FindStringSubmatch(value); m != nil {
				found++
				rel, _ := filepath.Rel(root, path)
				if at := filepath.ToSlash(rel) + " " + m[1]; variables[m[1]] != nil && !slices.Contains(otherReaders, at) {
					t.Errorf("%s is also the variable of a flag, %v: choose another name", at, variables[m[1]])
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("only %d names of variables were found in the code", found)
	}
}
