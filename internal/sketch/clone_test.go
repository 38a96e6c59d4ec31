package sketch

import (
	"reflect"
	"sync"
	"testing"
	"unsafe"
)

func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

type tree struct {
	Name  string
	Kids  []tree
	Bytes []byte
	At    [2]struct {
		s string
		n int
	}
	Nums  []int
	Ptr   *string
	Empty []string
	None  []string
}

// TestClone overwrites the buffer that a record's strings and slices lie in: the copy must not
// notice.
func TestClone(t *testing.T) {
	make1 := func(buf []byte) tree {
		v := tree{Name: viewOf(buf[:3]), Bytes: buf[3:6], Nums: []int{1, 2}, Empty: []string{}}
		v.At[1].s = viewOf(buf[6:])
		v.Kids = []tree{{Name: viewOf(buf[2:4]), Kids: []tree{{Name: viewOf(buf)}}}, {}}
		return v
	}
	buf := []byte("abcdefghij")
	v, want := make1(buf), make1([]byte("abcdefghij"))
	kids := v.Kids
	ClonerOf[tree]().Clone(unsafe.Pointer(&v))
	clear(buf)
	clear(kids)
	if !reflect.DeepEqual(v, want) {
		t.Errorf("copy = %+v, want %+v", v, want)
	}
	held := 3 + 3 + 4 + 16 + 2*int(unsafe.Sizeof(v)) + 2 + int(unsafe.Sizeof(v)) + 10
	if got := ClonerOf[tree]().Size(unsafe.Pointer(&v)); got != held {
		t.Errorf("Held = %d, want %d", got, held)
	}
}

func TestClonerConcurrent(t *testing.T) {
	type node struct {
		Next []struct{ Back []node }
		S    string
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			n := node{S: "x"}
			n.Next = []struct{ Back []node }{{Back: []node{{S: "y"}}}}
			ClonerOf[node]().Clone(unsafe.Pointer(&n))
			if n.Next[0].Back[0].S != "y" {
				t.Error("copy lost a string")
			}
		})
	}
	wg.Wait()
}

func TestHasPointers(t *testing.T) {
	for _, c := range []struct {
		v    any
		want bool
	}{
		{1, false}, {"", true}, {struct{ A, B int }{}, false}, {struct {
			A int
			B []int
		}{}, true}, {[0]string{}, false}, {[1]string{}, true}, {[4]float64{}, false}, {map[int]int{}, true}, {new(int), true},
	} {
		if got := HasPointers(reflect.TypeOf(c.v)); got != c.want {
			t.Errorf("HasPointers(%T) = %v", c.v, got)
		}
	}
}
