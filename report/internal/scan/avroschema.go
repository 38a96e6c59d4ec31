package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// avroKind is how a value of Avro is encoded.
type avroKind uint8

const (
	avroNull avroKind = iota
	avroBool
	avroLong // int and long
	avroFloat
	avroDouble
	avroBytes // bytes and string
	avroFixed
	avroEnum
	avroArray
	avroMap
	avroRecord
	avroUnion
)

// avroNode is a type of a schema.
type avroNode struct {
	kind     avroKind
	typ      vec.Type // of its values
	isText   bool     // a string
	mul, div int64    // of times, to microseconds
	size     int      // of avroFixed
	symbols  []string
	elem     *avroNode
	names    []string // of the fields
	fields   []*avroNode
	branches []*avroNode
	// value is the branch of a union that is not null, if there is only one.
	value *avroNode
	// whole reports that the values become JSON text.
	whole bool
}

// avroParser parses a schema.
type avroParser struct {
	named map[string]*avroNode
	open  map[*avroNode]bool // types whose fields are being parsed
	depth int
}

// parseAvro parses the schema of a file.
func parseAvro(text []byte) (*avroNode, error) {
	p := avroParser{named: map[string]*avroNode{}, open: map[*avroNode]bool{}}
	n, err := p.parse(text, "")
	if err != nil {
		return nil, fmt.Errorf("its schema cannot be read: %w", err)
	}
	return n, nil
}

// primitives are the names of types without parameters.
var primitives = map[string]avroNode{
	"null": {kind: avroNull, typ: vec.Of(vec.Null)}, "boolean": {kind: avroBool, typ: vec.Of(vec.Bool)},
	"int": {kind: avroLong, typ: vec.Of(vec.Int)}, "long": {kind: avroLong, typ: vec.Of(vec.Int)},
	"float": {kind: avroFloat, typ: vec.Of(vec.Float)}, "double": {kind: avroDouble, typ: vec.Of(vec.Float)},
	"bytes": {kind: avroBytes, typ: vec.Of(vec.Blob)}, "string": {kind: avroBytes, typ: vec.Of(vec.Text), isText: true},
}

// avroType is a type as a schema spells it.
type avroType struct {
	Type        json.RawMessage `json:"type"`
	Name        string          `json:"name"`
	Namespace   string          `json:"namespace"`
	LogicalType string          `json:"logicalType"`
	Precision   int             `json:"precision"`
	Scale       int             `json:"scale"`
	Size        int             `json:"size"`
	Symbols     []string        `json:"symbols"`
	Items       json.RawMessage `json:"items"`
	Values      json.RawMessage `json:"values"`
	Fields      []struct {
		Name string          `json:"name"`
		Type json.RawMessage `json:"type"`
	} `json:"fields"`
}

func (p *avroParser) parse(text json.RawMessage, namespace string) (*avroNode, error) {
	if p.depth++; p.depth > 200 {
		return nil, errors.New("its types are nested too deeply")
	}
	defer func() { p.depth-- }()
	var name string
	if json.Unmarshal(text, &name) == nil {
		return p.byName(name, namespace)
	}
	var union []json.RawMessage
	if json.Unmarshal(text, &union) == nil {
		return p.union(union, namespace)
	}
	var t avroType
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	if json.Unmarshal(t.Type, &name) != nil {
		return p.parse(t.Type, namespace) // a type in a type
	}
	full := t.Name
	if t.Namespace != "" {
		namespace = t.Namespace
	}
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		namespace = full[:i]
	} else if namespace != "" {
		full = namespace + "." + full
	}
	n := &avroNode{}
	switch name {
	case "record", "error":
		return p.record(n, full, namespace, &t)
	case "enum":
		*n = avroNode{kind: avroEnum, typ: vec.Of(vec.Text), symbols: t.Symbols}
		p.named[full] = n
	case "fixed":
		if t.Size < 0 || t.Size > 1<<20 {
			return nil, fmt.Errorf("type %s: size %d", full, t.Size)
		}
		*n = avroNode{kind: avroFixed, typ: vec.Of(vec.Blob), size: t.Size}
		p.named[full] = n
	case "array", "map":
		items := t.Items
		if n.kind = avroArray; name == "map" {
			n.kind, items = avroMap, t.Values
		}
		var err error
		if n.elem, err = p.parse(items, namespace); err != nil {
			return nil, err
		}
		if n.typ = vec.ListOf(n.elem.typ); name == "map" {
			n.typ = vec.MapOf(vec.Of(vec.Text), n.elem.typ)
		}
	default:
		known, err := p.byName(name, namespace)
		if err != nil {
			return nil, err
		}
		*n = *known
	}
	return n, n.logical(&t)
}

func (p *avroParser) byName(name, namespace string) (*avroNode, error) {
	if n, ok := primitives[name]; ok {
		return &n, nil
	}
	n := p.named[name]
	if n == nil && namespace != "" {
		n = p.named[namespace+"."+name]
	}
	if n == nil {
		return nil, fmt.Errorf("type %q is not declared", name)
	}
	if p.open[n] { // a type that contains itself has no columns
		return &avroNode{kind: avroRecord, typ: vec.Of(vec.JSON), whole: true, elem: n}, nil
	}
	return n, nil
}

func (p *avroParser) record(n *avroNode, full, namespace string, t *avroType) (*avroNode, error) {
	n.kind, n.typ.Kind = avroRecord, vec.Struct
	p.named[full], p.open[n] = n, true
	defer delete(p.open, n)
	for _, f := range t.Fields {
		field, err := p.parse(f.Type, namespace)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		n.names, n.fields = append(n.names, f.Name), append(n.fields, field)
		n.typ.Fields = append(n.typ.Fields, vec.Field{Name: f.Name, Type: field.typ})
	}
	return n, nil
}

// union makes a column that may be NULL of a type and null. Numbers of several types are widened.
// Other unions become JSON text.
func (p *avroParser) union(types []json.RawMessage, namespace string) (*avroNode, error) {
	n := &avroNode{kind: avroUnion, typ: vec.Of(vec.Null)}
	values, same := 0, true
	for _, t := range types {
		b, err := p.parse(t, namespace)
		if err != nil {
			return nil, err
		}
		if n.branches = append(n.branches, b); b.kind == avroNull {
			continue
		}
		values++
		n.value = b
		wider, ok := widen(n.typ, b.typ)
		n.typ, same = wider, same && ok && (values == 1 || wider.IsNumber() && wider.Kind != vec.Decimal)
	}
	if values > 1 {
		n.value = nil
	}
	if !same {
		n.typ, n.whole = vec.Of(vec.JSON), true
	}
	return n, nil
}

// logical applies a logical type. One that does not fit its type is ignored, as the format demands.
func (n *avroNode) logical(t *avroType) error {
	n.mul, n.div = max(n.mul, 1), max(n.div, 1)
	isLong := n.kind == avroLong
	base, unit, _ := strings.Cut(strings.TrimPrefix(t.LogicalType, "local-"), "-")
	switch {
	case t.LogicalType == "date" && isLong:
		n.typ = vec.Of(vec.Date)
	case (base == "time" || base == "timestamp") && isLong:
		switch {
		case base == "time":
			n.typ = vec.Of(vec.Time)
		case strings.HasPrefix(t.LogicalType, "local-"):
			n.typ = vec.Of(vec.Timestamp)
		default:
			n.typ = vec.Of(vec.TimestampTZ)
		}
		switch unit {
		case "millis":
			n.mul = 1000
		case "nanos":
			n.div = 1000
		}
	case t.LogicalType == "decimal" && (n.kind == avroBytes && !n.isText || n.kind == avroFixed):
		if t.Precision < 1 || t.Precision > vec.MaxPrecision || t.Scale < 0 || t.Scale > t.Precision {
			return fmt.Errorf("decimal(%d,%d) has more than %d digits", t.Precision, t.Scale, vec.MaxPrecision)
		}
		n.typ = vec.DecimalOf(t.Precision, t.Scale)
	case t.LogicalType == "uuid" && n.kind == avroFixed && n.size == 16:
		n.typ = vec.Of(vec.Text)
	case t.LogicalType == "duration" && n.kind == avroFixed && n.size == 12:
		n.typ = vec.Of(vec.Interval)
	}
	return nil
}
