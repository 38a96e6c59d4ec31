package expr

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// A function is one signature of one or several names.
//
// The signature lists the kinds of the parameters: "text int [int]". Brackets mark optional ones,
// and a last kind with dots, such as "any...", may occur any number of times. Kinds are names of
// types; "any" takes every type, and "num" an integer, a decimal or a float.
type function struct {
	names, sig string
	bind       binding
	nulls      callNulls
	cost       int
}

// def returns a strict function.
func def(names, sig string, b binding) function {
	return function{names: names, sig: sig, bind: b, cost: 20}
}

// withNulls returns a function whose kernel handles NULL.
func withNulls(names, sig string, b binding) function {
	return function{names: names, sig: sig, bind: b, nulls: nullable, cost: 20}
}

// A special function resolves its types by itself. It returns nil to leave a call to the
// signatures.
type special func(name string, args []*Expr, offset int) (*Expr, error)

// signature is a parsed function.
type signature struct {
	function
	params   []string
	required int
	rest     bool
}

// registry has all functions by name.
//
// Where PostgreSQL and DuckDB disagree, functions follow PostgreSQL. Statements written for DuckDB
// differ in these points:
//
//   - 7 / 2 is 3, and division by zero is an error; so are sqrt(-1), ln(0), 0 ^ -1, and a float
//     result that is infinite
//   - decimal / decimal is a decimal with at least 16 digits after the point, not a float
//   - x ^ y is a float
//   - round(2.5::double) is 2: halves go to even for floats without digits, and away from zero for
//     decimals
//   - a decimal has at most 38 digits, and hugeint is decimal(38,0); hugeint / integer truncates
//   - integers have 64 bits, whatever the name of their type; varchar(n) has no limit
//   - booleans and numbers are not compared, and AND needs booleans
//   - a literal takes the type of the other side: '5' + 1 is 6, and date + '1 day' works
//   - LIKE has a backslash as its escape; SIMILAR TO has % and _, and no dot
//   - ~ searches and a dot matches a line break; regexp_replace has \1 and \& for groups
//   - substr with a position below 1 starts before the text, as in the standard
//   - split_part with field 0 is an error; string_to_array with an empty separator does not split,
//     but string_split does, as in DuckDB
//   - format has %s, %I and %L
//   - extract(second) has a fraction; second(x) has none
//   - date_trunc('century') starts in a year that ends with 1
//   - intervals are written with mons, and negative ones with days: -1 days
//   - a text with a fraction is no integer: cast it twice
//   - list || NULL is the list, and list || element appends
//   - TRY_CAST of a list is NULL if one element fails
//
// They follow DuckDB, where the functions come from, in: date_diff, date_sub, time_bucket,
// strftime, regexp_matches (a boolean), regexp_extract (an empty text without a match), json_type,
// json_array_length (0 for other values), json paths, list_* functions, x[-1], and struct and map
// types. Texts of lists, structs and maps are JSON with spaces.
//
// Neither has: hash(x) from 0 to 2^63-1, the same on every machine; random() is refused; the time
// zone is UTC, and others are named with AT TIME ZONE, where +02:00 means east of Greenwich.
type registry struct {
	functions map[string][]*signature
	special   map[string]special
}

var (
	registryOnce sync.Once
	registered   registry
)

// theRegistry returns the registry, which is made at the first call.
func theRegistry() *registry {
	registryOnce.Do(func() {
		r := registry{functions: map[string][]*signature{}, special: specials()}
		for _, list := range [][]function{
			mathFunctions(), stringFunctions(), regexpFunctions(), dateFunctions(), charFunctions(), jsonFunctions(), listFunctions(),
			hashFunctions(),
		} {
			for _, f := range list {
				r.add(f)
			}
		}
		registered = r
	})
	return &registered
}

func (r *registry) add(f function) {
	s := &signature{function: f}
	for _, p := range strings.Fields(f.sig) {
		if kind, ok := strings.CutSuffix(p, "..."); ok {
			s.rest = true
			s.params = append(s.params, kind)
			continue
		}
		kind := strings.Trim(p, "[]")
		s.params = append(s.params, kind)
		if kind == p {
			s.required++
		}
	}
	for _, name := range strings.Fields(f.names) {
		r.functions[name] = append(r.functions[name], s)
	}
}

// Names returns the names of all functions, without operators, in alphabetical order.
func Names() []string {
	r := theRegistry()
	var names []string
	add := func(name string) {
		if name[0] >= 'a' && name[0] <= 'z' && !strings.Contains(name, " ") && !slices.Contains(words, name) {
			names = append(names, name)
		}
	}
	for name := range r.functions {
		add(name)
	}
	for name := range r.special {
		add(name)
	}
	names = slices.AppendSeq(names, maps.Keys(timeNames))
	slices.Sort(names)
	return slices.Compact(names)
}

// words are operators that are spelled like functions.
var words = []string{"and", "or", "not", "like", "ilike", "between"}

// IsFunction reports whether Call knows a name, also one that it refuses with a reason of its own.
func IsFunction(name string) bool {
	r, name := theRegistry(), strings.ToLower(name)
	_, isTime := timeNames[name]
	return r.functions[name] != nil || r.special[name] != nil || refused[name] != "" || isTime
}

// Call returns the call of a function, by its name in lower case, or of an operator, by its SQL
// spelling in lower case: "+", "not like", "is not distinct from". It chooses the signature that
// fits the arguments with the fewest casts.
func Call(name string, args []*Expr, offset int) (*Expr, error) {
	r := theRegistry()
	name = strings.ToLower(name)
	if f := r.special[name]; f != nil {
		if e, err := f(name, args, offset); e != nil || err != nil {
			return e, err
		}
	}
	if why := refused[name]; why != "" {
		return nil, errorAt(offset, "%s", why)
	}
	if _, ok := timeNames[name]; ok {
		return nil, errorAt(offset, "%s is not allowed here: the time of the statement is not known", name)
	}
	sigs := r.functions[name]
	if sigs == nil {
		return nil, errorAt(offset, "no function is named %s", name)
	}
	var best *signature
	low := -1
	for _, s := range sigs {
		if c := s.fits(args); c >= 0 && (low < 0 || c < low) {
			best, low = s, c
		}
	}
	if best == nil {
		return nil, mismatch(name, sigs, args, offset)
	}
	cast := make([]*Expr, len(args))
	for i, a := range args {
		var err error
		if cast[i], err = coerceKind(a, best.param(i)); err != nil {
			return nil, err
		}
	}
	t, k, err := best.bind(cast)
	if err != nil {
		if x, ok := err.(*Error); ok && x.Offset == noOffset {
			x.Offset = offset
		}
		return nil, err
	}
	return newCall(name, cast, t, k, best.nulls, best.cost, offset), nil
}

// refused are functions that cannot be had, with the reason.
var refused = map[string]string{
	"random":          "random() is refused: a report gives the same answer every time; use hash(column) % 100 for a sample",
	"rand":            "rand() is refused: a report gives the same answer every time; use hash(column) % 100 for a sample",
	"gen_random_uuid": "gen_random_uuid() is refused: a report gives the same answer every time; use md5(column)",
	"uuid":            "uuid() is refused: a report gives the same answer every time; use md5(column)",
}

// newCall returns a call, or its value if it is constant.
func newCall(name string, args []*Expr, t vec.Type, k kernel, nulls callNulls, cost, offset int) *Expr {
	e := &Expr{Type: t, Op: OpCall, Name: name, Args: args, Offset: offset, kernel: k, calls: nulls, cost: cost}
	e.rebind = func(args []*Expr) (*Expr, error) { return Call(name, args, offset) }
	return e.finished()
}

// finished adds the costs of the arguments and folds constants.
func (e *Expr) finished() *Expr {
	failed := false // an argument is constant, but has no value
	for _, a := range e.Args {
		e.cost = min(e.cost+a.cost, 1<<20)
		failed = failed || a.IsConst() && a.Op != OpConst
	}
	e.derive()
	if failed && e.Op != OpCase && e.calls != lazy {
		return e
	}
	return e.folded()
}

func (s *signature) param(i int) string { return s.params[min(i, len(s.params)-1)] }

// fits returns the cost of the casts for arguments, or -1 if they do not fit.
func (s *signature) fits(args []*Expr) int {
	if len(args) < s.required || len(args) > len(s.params) && !s.rest {
		return -1
	}
	total := 0
	for i, a := range args {
		c := -1
		switch p := s.param(i); p {
		case "any":
			c = 0
		case "num":
			if a.Type.IsNumber() || a.Type.Kind == vec.Null {
				c = 0
			} else if a.untyped {
				c = 4
			}
		default:
			c = implicit(a, kindOf(p))
		}
		if c < 0 {
			return -1
		}
		total += c
	}
	return total
}

// kindOf returns the kind of a parameter.
func kindOf(param string) vec.Kind {
	switch param {
	case "list":
		return vec.List
	case "struct":
		return vec.Struct
	case "map":
		return vec.Map
	}
	return typeNames[param]
}

// coerceKind casts an argument to the kind of a parameter.
func coerceKind(e *Expr, param string) (*Expr, error) {
	switch param {
	case "any":
		if e.untyped {
			return Coerce(e, vec.Of(vec.Text))
		}
		return e, nil
	case "num":
		if e.Type.Kind == vec.Null || e.untyped {
			return Coerce(e, vec.Of(vec.Float))
		}
		return e, nil
	}
	k := kindOf(param)
	if e.Type.Kind == k && !e.untyped {
		return e, nil
	}
	switch k {
	case vec.Decimal:
		if e.Type.Kind == vec.Int {
			return Coerce(e, asDecimal(e.Type))
		}
		return Coerce(e, vec.DecimalOf(vec.MaxPrecision, 10))
	case vec.List:
		return Coerce(e, vec.ListOf(vec.Of(vec.Null)))
	case vec.Struct, vec.Map:
		return e, nil
	}
	return Coerce(e, vec.Of(k))
}

// mismatch explains that no signature fits.
func mismatch(name string, sigs []*signature, args []*Expr, offset int) error {
	var forms []string
	arity := false
	for _, s := range sigs {
		forms = append(forms, name+"("+s.form()+")")
		arity = arity || len(args) >= s.required && (len(args) <= len(s.params) || s.rest)
	}
	list := strings.Join(slices.Compact(forms), " or ")
	if !arity {
		return errorAt(offset, "%s has %s; it takes %s", name, arguments(len(args)), list)
	}
	return errorAt(offset, "%s cannot take %s; it takes %s: cast the argument, as in CAST(x AS %s)", name, typesOf(args), list, wantedType(sigs, args))
}

// wantedType returns the type of the first argument that does not fit.
func wantedType(sigs []*signature, args []*Expr) string {
	for i, a := range args {
		for _, s := range sigs {
			if len(s.params) == 0 || i >= len(s.params) && !s.rest {
				continue
			}
			p := s.param(i)
			if p == "num" && !a.Type.IsNumber() {
				return "double"
			}
			if p != "any" && p != "num" && implicit(a, kindOf(p)) < 0 {
				return kindOf(p).String()
			}
		}
	}
	return "text"
}

// form returns the parameters as a message shows them.
func (s *signature) form() string {
	return strings.Join(strings.Fields(s.sig), ", ")
}

func arguments(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "1 argument"
	}
	return itoa(n) + " arguments"
}
