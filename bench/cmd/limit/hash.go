package main

import (
	"encoding/binary"
	"math/bits"
)

// Multipliers without pattern, from wyhash.
const mul0, mul1 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash returns a hash of a short key, after wyhash.
func hash(b []byte) uint64 {
	n := len(b)
	var x, y uint64
	switch {
	case n >= 8:
		h := uint64(n) * mul0
		i := 0
		for ; i+16 <= n; i += 16 {
			h = mix(binary.LittleEndian.Uint64(b[i:])^mul1^h, binary.LittleEndian.Uint64(b[i+8:])^mul0)
		}
		if i+8 <= n {
			x = binary.LittleEndian.Uint64(b[i:])
		}
		y = binary.LittleEndian.Uint64(b[n-8:])
		return mix(x^mul1^h, y^mul0)
	case n >= 4:
		x = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
	case n > 0:
		x = uint64(b[0]) | uint64(b[n>>1])<<8 | uint64(b[n-1])<<16
	}
	return mix(x^mul1, uint64(n)^mul0)
}
