package expr

import (
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// A jsonStep is a step of a path into JSON: a key of an object or an element of an array.
type jsonStep struct {
	key   string
	index int64
	array bool
}

// jsonPath reads a path: $.a.b[0]."c d"[#-1], /a/b/0, or one key.
func jsonPath(path string) ([]jsonStep, error) {
	bad := func() ([]jsonStep, error) {
		return nil, rowError(0, "%s is no path into JSON; write it as $.a.b[0] or a", quote(path))
	}
	if rest, ok := strings.CutPrefix(path, "/"); ok {
		var steps []jsonStep
		for _, k := range strings.Split(rest, "/") {
			k = strings.NewReplacer("~1", "/", "~0", "~").Replace(k)
			i, after, n := number(k, 18)
			steps = append(steps, jsonStep{key: k, index: i, array: n > 0 && after == ""})
		}
		return steps, nil
	}
	if !strings.HasPrefix(path, "$") {
		return []jsonStep{{key: path}}, nil
	}
	var steps []jsonStep
	for rest := path[1:]; rest != ""; {
		switch {
		case strings.HasPrefix(rest, `."`):
			end := strings.IndexByte(rest[2:], '"')
			if end < 0 {
				return bad()
			}
			steps = append(steps, jsonStep{key: rest[2 : 2+end]})
			rest = rest[3+end:]
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			key := rest[1 : 1+end]
			if key == "" || key == "*" {
				return bad()
			}
			steps = append(steps, jsonStep{key: key})
			rest = rest[1+end:]
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return bad()
			}
			text, fromEnd := strings.CutPrefix(rest[1:end], "#-")
			if !fromEnd {
				text, fromEnd = strings.CutPrefix(text, "-")
			}
			i, after, n := number(text, 18)
			if n == 0 || after != "" {
				return bad()
			}
			if fromEnd {
				i = -i
			}
			steps = append(steps, jsonStep{index: i, array: true})
			rest = rest[end+1:]
		default:
			return bad()
		}
	}
	return steps, nil
}

// follow returns the value at the end of a path.
func follow(s string, steps []jsonStep) (string, bool) {
	for _, step := range steps {
		var ok bool
		var next string
		if step.array {
			next, ok = jsonElement(s, step.index)
			if !ok && step.key != "" {
				next, ok = jsonMember(s, step.key)
			}
		} else {
			next, ok = jsonMember(s, step.key)
		}
		if !ok {
			return "", false
		}
		s = next
	}
	return jsonTrim(s), true
}

// jsonAt returns a binding that looks up args[1], a path or the number of an element, in args[0].
func jsonAt[R value](k vec.Kind, f func(value string) (R, error)) binding {
	t := vec.Of(k)
	return func(args []*Expr) (vec.Type, kernel, error) {
		var fixed []jsonStep
		if len(args) > 1 && args[1].Op == OpConst && !args[1].isNull() && args[1].Type.Kind == vec.Text {
			var err error
			if fixed, err = jsonPath(args[1].Value.String(0)); err != nil {
				err.(*Error).Offset, err.(*Error).Row = args[1].Offset, -1
				return t, nil, err
			}
		}
		return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			s, m := strs(args[0]), maskOf(args[0])
			return each(t, args, n, func(i int) (zero R, err error) {
				steps := fixed
				switch {
				case len(args) == 1 || steps != nil:
				case args[1].Type.Kind == vec.Int:
					steps = []jsonStep{{index: args[1].Ints[i&maskOf(args[1])], array: true}}
				default:
					if steps, err = jsonPath(args[1].String(i)); err != nil {
						return zero, err
					}
				}
				x, ok := follow(s[i&m], steps)
				if !ok {
					return zero, errNull
				}
				return f(x)
			})
		}, nil
	}
}

// jsonKind returns the type of a JSON value by its first letter.
func jsonKind(s string, names map[byte]string) (string, error) {
	s = jsonTrim(s)
	if s == "" {
		return "", errNull
	}
	c := s[0]
	if c == '-' || c >= '0' && c <= '9' {
		if c != '-' {
			c = '0'
		}
		if strings.ContainsAny(s, ".eE") {
			c = '.'
		}
	}
	return names[c], nil
}

func jsonFunctions() []function {
	itself := func(s string) (string, error) { return s, nil }
	text := func(s string) (string, error) {
		if t, ok := jsonText(s); ok {
			return t, nil
		}
		return "", errNull
	}
	length := func(s string) (int64, error) { return jsonLength(s), nil }
	duck := map[byte]string{'{': "OBJECT", '[': "ARRAY", '"': "VARCHAR", '0': "UBIGINT", '-': "BIGINT", '.': "DOUBLE", 't': "BOOLEAN", 'f': "BOOLEAN", 'n': "NULL"}
	postgres := map[byte]string{'{': "object", '[': "array", '"': "string", '0': "number", '-': "number", '.': "number", 't': "boolean", 'f': "boolean", 'n': "null"}
	kind := func(s string) (string, error) { return jsonKind(s, duck) }
	keys := always(vec.ListOf(vec.Of(vec.Text)), func(args []*vec.Vec, n int) (*vec.Vec, error) {
		s, m := strs(args[0]), maskOf(args[0])
		return eachList(args, n, func(i int) ([]string, []bool, error) {
			var out []string
			x := jsonTrim(s[i&m])
			if x == "" || x[0] != '{' {
				return nil, nil, nil
			}
			var end int
			jsonEach(x, 0, func(k, _ string, _ int) bool { out = append(out, unquoteJSON(k)); return true }, &end)
			return out, nil, nil
		})
	})
	var fs []function
	for _, path := range []string{"text", "int"} {
		fs = append(fs,
			def("-> json_extract json_extract_path", "json "+path, jsonAt(vec.JSON, itself)),
			def("->> json_extract_string json_extract_path_text", "json "+path, jsonAt(vec.Text, text)),
		)
	}
	return append(fs,
		def("json_array_length jsonb_array_length", "json", jsonAt(vec.Int, length)), def("json_array_length", "json text", jsonAt(vec.Int, length)),
		def("json_type", "json", jsonAt(vec.Text, kind)), def("json_type", "json text", jsonAt(vec.Text, kind)),
		def("json_typeof jsonb_typeof", "json", jsonAt(vec.Text, func(s string) (string, error) { return jsonKind(s, postgres) })),
		def("json_exists", "json text", func(args []*Expr) (vec.Type, kernel, error) {
			_, k, err := jsonAt(vec.Bool, func(string) (bool, error) { return true, nil })(args)
			return vec.Of(vec.Bool), func(args []*vec.Vec, n int) (*vec.Vec, error) {
				v, err := k(args, n)
				if err == nil {
					v.Nulls = nullsOf(args, n) // a path that is missing is false
				}
				return v, err
			}, err
		}),
		def("json_keys json_object_keys", "json", keys),
		def("json_valid", "text", of1(vec.Bool, validJSON)), def("json_valid", "json", of1(vec.Bool, validJSON)),
		def("to_json to_jsonb json_quote", "any", always(vec.Of(vec.JSON), func(args []*vec.Vec, n int) (*vec.Vec, error) {
			return appendEach(vec.Of(vec.JSON), args, n, func(dst []byte, i int) ([]byte, error) { return appendJSON(dst, args[0], i, ""), nil })
		})),
		withNulls("json_array json_build_array", "any...", always(vec.Of(vec.JSON), func(args []*vec.Vec, n int) (*vec.Vec, error) {
			return appendEach(vec.Of(vec.JSON), nil, n, func(dst []byte, i int) ([]byte, error) {
				dst = append(dst, '[')
				for a, v := range args {
					if a > 0 {
						dst = append(dst, ',')
					}
					dst = appendJSON(dst, v, i, "")
				}
				return append(dst, ']'), nil
			})
		})),
		withNulls("json_object json_build_object", "any...", always(vec.Of(vec.JSON), func(args []*vec.Vec, n int) (*vec.Vec, error) {
			return appendEach(vec.Of(vec.JSON), nil, n, func(dst []byte, i int) ([]byte, error) {
				if len(args)%2 != 0 {
					return dst, rowError(0, "json_object takes pairs of a key and a value, not %s", arguments(len(args)))
				}
				dst = append(dst, '{')
				for a := 0; a < len(args); a += 2 {
					if args[a].Null(i) {
						return dst, rowError(0, "json_object: key %d is NULL", a/2+1)
					}
					if a > 0 {
						dst = append(dst, ',')
					}
					dst = appendJSONString(dst, string(AppendText(nil, args[a], i)))
					dst = appendJSON(append(dst, ':'), args[a+1], i, "")
				}
				return append(dst, '}'), nil
			})
		})),
	)
}
