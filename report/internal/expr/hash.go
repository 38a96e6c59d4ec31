package expr

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
	"github.com/zeebo/xxh3"
)

// hashRows returns a number from 0 to 2^63-1 for each row of the arguments. Equal values of one
// type have equal numbers, in every run and on every machine. It is not DuckDB's hash.
func hashRows(args []*vec.Vec, n int) (*vec.Vec, error) {
	out := make([]int64, n)
	var key []byte
	for i := range out {
		key = key[:0]
		for _, v := range args {
			key = v.AppendKey(key, i, vec.Order{})
		}
		out[i] = int64(xxh3.Hash(key) >> 1)
	}
	return vecOf(vec.Of(vec.Int), out, nil), nil
}

func hashFunctions() []function {
	sums := func(name string, sum func(dst []byte, s string) []byte) []function {
		f := func(dst []byte, s string) ([]byte, error) { return hex.AppendEncode(dst, sum(nil, s)), nil }
		return []function{def(name, "text", append1(vec.Text, f)), def(name, "blob", append1(vec.Text, f))}
	}
	fs := sums("md5", func(dst []byte, s string) []byte { h := md5.Sum([]byte(s)); return append(dst, h[:]...) })
	fs = append(fs, sums("sha1", func(dst []byte, s string) []byte { h := sha1.Sum([]byte(s)); return append(dst, h[:]...) })...)
	fs = append(fs, sums("sha256", func(dst []byte, s string) []byte { h := sha256.Sum256([]byte(s)); return append(dst, h[:]...) })...)
	upperHex := func(dst []byte, s string) ([]byte, error) {
		return append(dst, strings.ToUpper(hex.EncodeToString([]byte(s)))...), nil
	}
	toHex := func(dst []byte, x int64) ([]byte, error) { return strconv.AppendUint(dst, uint64(x), 16), nil }
	encode := func(dst []byte, s, format string) ([]byte, error) {
		switch strings.ToLower(format) {
		case "hex":
			return hex.AppendEncode(dst, []byte(s)), nil
		case "base64":
			return base64.StdEncoding.AppendEncode(dst, []byte(s)), nil
		}
		return dst, rowError(0, "%s is no encoding; use hex or base64", quote(format))
	}
	decode := func(dst []byte, s, format string) ([]byte, error) {
		var err error
		switch strings.ToLower(format) {
		case "hex":
			dst, err = hex.AppendDecode(dst, []byte(s))
		case "base64":
			dst, err = base64.StdEncoding.AppendDecode(dst, []byte(s))
		default:
			return dst, rowError(0, "%s is no encoding; use hex or base64", quote(format))
		}
		if err != nil {
			return dst, rowError(0, "%s is not valid in %s", quote(s), strings.ToLower(format))
		}
		return dst, nil
	}
	return append(fs,
		withNulls("hash", "any...", always(vec.Of(vec.Int), hashRows)),
		def("hex", "text", append1(vec.Text, upperHex)), def("hex", "blob", append1(vec.Text, upperHex)),
		def("to_hex hex", "int", append1(vec.Text, toHex)),
		def("encode", "blob text", append2(vec.Text, encode)), def("encode", "text text", append2(vec.Text, encode)),
		def("decode", "text text", append2(vec.Blob, decode)),
		def("unhex from_hex", "text", append1(vec.Blob, func(dst []byte, s string) ([]byte, error) { return decode(dst, s, "hex") })),
		def("base64 to_base64", "blob", append1(vec.Text, func(dst []byte, s string) ([]byte, error) { return encode(dst, s, "base64") })),
		def("from_base64", "text", append1(vec.Blob, func(dst []byte, s string) ([]byte, error) { return decode(dst, s, "base64") })),
	)
}
