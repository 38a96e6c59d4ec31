package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
)

// copyOf returns rows in the form of binary COPY. A nil value is NULL.
func copyOf(rows ...[][]byte) []byte {
	b := append([]byte(copyHead), 0, 0, 0, 0, 0, 0, 0, 0)
	for _, row := range rows {
		b = binary.BigEndian.AppendUint16(b, uint16(len(row)))
		for _, v := range row {
			if v == nil {
				b = binary.BigEndian.AppendUint32(b, math.MaxUint32)
				continue
			}
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		}
	}
	return append(b, 0xff, 0xff)
}

// read returns the rows of a stream that arrives in pieces of some size.
func read(stream []byte, columns, piece int) (text string, err error) {
	r := reader{fields: make([][]byte, columns), row: func(fields [][]byte) (bool, error) {
		for _, f := range fields {
			text += fmt.Sprintf("%q,", f)
			if f == nil {
				text += "NULL,"
			}
		}
		text += ";"
		return true, nil
	}}
	for len(stream) > 0 {
		n := min(piece, len(stream))
		if err := r.add(bytes.Clone(stream[:n])); err != nil {
			return text, err
		}
		stream = stream[n:]
	}
	if !r.ended {
		return text, fmt.Errorf("no end")
	}
	return text, nil
}

// Rows are the same however the stream is cut into messages.
func TestReader(t *testing.T) {
	stream := copyOf([][]byte{[]byte("a"), nil}, [][]byte{{}, bytes.Repeat([]byte("x"), 50)})
	want, err := read(stream, 2, len(stream))
	if err != nil || !strings.HasPrefix(want, `"a","",NULL,;"","xxx`) {
		t.Fatal(want, err)
	}
	for piece := 1; piece < len(stream); piece++ {
		if got, err := read(stream, 2, piece); got != want || err != nil {
			t.Errorf("in pieces of %d: %s, %v", piece, got, err)
		}
	}
	if _, err := read(stream, 3, 100); err == nil {
		t.Error("a row with too few columns was read")
	}
	if _, err := read(stream[:len(stream)-2], 2, 100); err == nil {
		t.Error("a stream without an end was read")
	}
}

func FuzzReader(f *testing.F) {
	f.Add(copyOf([][]byte{[]byte("a"), nil}), 5)
	f.Add([]byte(copyHead+"\x00\x00\x00\x00\x00\x00\x00\x01x\x00\x02\xff\xff\xff\xf0"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		if piece < 1 {
			return
		}
		whole, err := read(stream, 2, max(len(stream), 1))
		cut, errCut := read(stream, 2, piece)
		if whole != cut && err == nil || (err == nil) != (errCut == nil) {
			t.Errorf("%q and %q, %v and %v", whole, cut, err, errCut)
		}
	})
}

// numericOf returns the binary form of a number with digits of base 10,000.
func numericOf(weight int, sign uint16, scale int, digits ...uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(digits)))
	b = binary.BigEndian.AppendUint16(b, uint16(int16(weight)))
	b = binary.BigEndian.AppendUint16(b, sign)
	b = binary.BigEndian.AppendUint16(b, uint16(scale))
	for _, d := range digits {
		b = binary.BigEndian.AppendUint16(b, d)
	}
	return b
}

func TestNumeric(t *testing.T) {
	for _, tt := range []struct {
		raw    []byte
		text   string
		scaled string // with two decimals, or the error
	}{
		{numericOf(0, 0, 0), "0", "0"},
		{numericOf(1, 0, 2, 1, 2345, 6700), "12345.67", "1234567"},
		{numericOf(0, 0x4000, 1, 7, 5000), "-7.5", "-750"},
		{numericOf(-1, 0, 4, 12), "0.0012", "more decimals"},
		{numericOf(-2, 0, 8, 500), "0.00000500", "more decimals"},
		{numericOf(3, 0, 0, 5), "5000000000000", "500000000000000"},
		{numericOf(4, 0x4000, 2, 9, 2233, 7203, 6854, 7758, 800), "-92233720368547758.08", "-9223372036854775808"},
		{numericOf(4, 0, 2, 9, 2233, 7203, 6854, 7758, 800), "92233720368547758.08", "out of the range"},
		{numericOf(30, 0, 0, 1), "1" + strings.Repeat("0000", 30), "out of the range"},
		{numericOf(0, 0xc000, 0), "NaN", "NaN is no whole number"},
		{numericOf(0, 0xf000, 0), "-Infinity", "-Infinity is no whole number"},
	} {
		n, err := ParseNumeric(tt.raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(n.AppendText(nil)); got != tt.text {
			t.Errorf("text %s, want %s", got, tt.text)
		}
		x, err := n.Scaled(2)
		if got := fmt.Sprint(x); err == nil && got != tt.scaled || err != nil && !strings.Contains(err.Error(), tt.scaled) {
			t.Errorf("%s: %d, %v, want %s", tt.text, x, err, tt.scaled)
		}
		f, err := n.Float()
		if r, ok := new(big.Rat).SetString(tt.text); ok {
			if want, _ := r.Float64(); err != nil || f != want {
				t.Errorf("%s: float %v, %v, want %v", tt.text, f, err, want)
			}
		}
	}
}

func FuzzNumeric(f *testing.F) {
	f.Add(numericOf(1, 0, 2, 1, 2345, 6700))
	f.Add(numericOf(-3, 0x4000, 12, 1, 9999))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := ParseNumeric(raw)
		if err != nil || n.special != "" {
			return
		}
		for i := range len(n.digits) / 2 {
			if n.digit(i) > 9999 {
				return // the server never sends it
			}
		}
		x, err := n.Scaled(3)
		if err != nil {
			return
		}
		n.scale = max(n.scale, 0) | 0x3ff // show all decimals
		r, ok := new(big.Rat).SetString(string(n.AppendText(nil)))
		if want := big.NewRat(x, 1000); !ok || r.Cmp(want) != 0 {
			t.Errorf("%s is read as %s", n.AppendText(nil), want.FloatString(3))
		}
	})
}

// No form of a connection string shows its password.
func TestDisplay(t *testing.T) {
	const secret = "hunter2"
	for in, want := range map[string]string{
		"shop":                               "shop",
		"":                                   "",
		"postgres://u@h:5432/db":             "postgres://u@h:5432/db",
		"postgres://u:" + secret + "@h/db":   "postgres://u@h/db",
		"postgres://h/db?password=" + secret: "postgres://@h/db",
		"postgres://u:" + secret + "%zz@h/":  "(a connection string)",
		"host=h user=u":                      "host=h user=u",
		"host=h password=" + secret:          "host=h",
		"host=h Password = '" + secret + "'": "host=h",
	} {
		if got := Display(in); got != want || strings.Contains(got, secret) {
			t.Errorf("Display(%s) = %s, want %s", in, got, want)
		}
		if _, err := Config(in); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("Config(%s) shows the password: %v", in, err)
		}
	}
}
