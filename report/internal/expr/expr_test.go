package expr

import (
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func must(t testing.TB, e *Expr, err error) *Expr {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestFirst(t *testing.T) {
	price := &vec.Vec{Type: vec.DecimalOf(10, 2), Len: 3, Ints: []int64{399, 400, 401}}
	stock := &vec.Vec{Type: vec.Of(vec.Int), Len: 3, Ints: []int64{1, 2, 3}}
	b := &vec.Batch{N: 3, Cols: []*vec.Vec{price, stock}}
	p, s := Column(0, price.Type, "price", 0), Column(1, stock.Type, "stock", 0)
	x, err := Call("*", []*Expr{p, s}, 3)
	must(t, x, err)
	v, err := x.Eval(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		t.Logf("%s %s", v.Type, AppendText(nil, v, i))
	}
	n, _ := ParseNumber("4", 0)
	x, err = Call(">=", []*Expr{p, n}, 3)
	must(t, x, err)
	v, err = x.Eval(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		t.Logf("%s %s", v.Type, AppendText(nil, v, i))
	}
	x, err = Cast(Text("1 year 2 days 03:04:05.6", 0), vec.Of(vec.Interval), false, 0)
	must(t, x, err)
	t.Logf("%s", AppendText(nil, x.Value, 0))
}
