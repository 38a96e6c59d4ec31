package record

import "encoding/binary"

// A block is a sequence of records. Each record is: uvarint key length, uvarint value length, key,
// value.

// AppendRecord appends one record to a block.
func AppendRecord(dst, key, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(append(dst, key...), value...)
}

// Cut returns the first record of a block and the rest of the block. Key and value alias the block.
// If the block does not begin with a record, the error wraps ErrCorrupt.
func Cut(block []byte) (key, value, rest []byte, err error) {
	// short key and value: the usual case
	if len(block) >= 2 && block[0] < 0x80 && block[1] < 0x80 {
		k, v := int(block[0]), int(block[1])
		if k+v <= len(block)-2 {
			return block[2 : 2+k : 2+k], block[2+k : 2+k+v : 2+k+v], block[2+k+v:], nil
		}
	}
	k, n := binary.Uvarint(block)
	if n <= 0 {
		return nil, nil, nil, corrupt("key length")
	}
	block = block[n:]
	v, n := binary.Uvarint(block)
	if n <= 0 {
		return nil, nil, nil, corrupt("value length")
	}
	block = block[n:]
	if k > uint64(len(block)) || v > uint64(len(block))-k {
		return nil, nil, nil, corrupt("record length")
	}
	return block[:k:k], block[k : k+v : k+v], block[k+v:], nil
}
