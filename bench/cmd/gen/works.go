package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// The sizes of the set works at scale 1.
const (
	eventRows = 5_000_000
	userRows  = 500_000
	longRows  = 550_000 // of 500,000 keys
	longKeys  = 500_000
	manyRows  = 20_000_000
	tinyFiles = 20_000
)

// works writes the data of the small works, with all sizes divided by scale:
//
//	events/part-NN.csv   id,user,amount: ids in no order; half of the events are of user 0
//	users.csv            user,country
//	long/part-NN.txt     keys of 1 KB, one per line; a tenth of them twice
//	many/part-NN.txt     keys of 16 digits, one per line, each once
//	tiny/NNNNN.txt       files of 12 words
func works(dir string, scale int) error {
	var g errgroup.Group
	g.Go(func() error {
		return lines(dir+"/events/part-%02d.csv", "id,user,amount\n", eventRows/scale, scale, appendEvent)
	})
	g.Go(func() error { return lines(dir+"/long/part-%02d.txt", "", longRows/scale, scale, appendLongKey) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := lines(dir+"/many/part-%02d.txt", "", manyRows/scale, scale, appendKey); err != nil {
		return err
	}
	if err := create(func(w ...io.Writer) error { return writeUsers(w[0], userRows/scale) }, dir+"/users.csv"); err != nil {
		return err
	}
	words := vocabulary(20_000, stream(2))
	for n := range tinyFiles / scale {
		err := create(func(w ...io.Writer) error {
			for i := range 12 {
				if _, err := fmt.Fprintln(w[0], words[spread(uint64(12*n+i))%5000]); err != nil {
					return err
				}
			}
			return nil
		}, fmt.Sprintf("%s/tiny/%05d.txt", dir, n))
		if err != nil {
			return err
		}
	}
	return nil
}

// lines writes n lines to files, each with a header.
func lines(pattern, header string, n, scale int, line func(dst []byte, i, scale int) []byte) error {
	return eachPart(func(part int) error {
		return create(func(w ...io.Writer) error {
			b := []byte(header)
			for i := part * n / parts; i < (part+1)*n/parts; i++ {
				b = append(line(b, i, scale), '\n')
				if _, err := w[0].Write(b); err != nil {
					return err
				}
				b = b[:0]
			}
			return nil
		}, fmt.Sprintf(pattern, part))
	})
}

// spread returns a number for x that looks random. Different x have different numbers.
func spread(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// appendEvent appends an event. 7,368,787 is a prime above all ids, so ids do not repeat.
func appendEvent(dst []byte, i, scale int) []byte {
	user := uint64(0)
	r := spread(uint64(i))
	if r&1 == 1 {
		user = r >> 8 % uint64(userRows/scale)
	}
	dst = strconv.AppendInt(dst, int64(i)*48271%7_368_787, 10)
	dst = strconv.AppendUint(append(dst, ','), user, 10)
	return strconv.AppendUint(append(dst, ','), r>>40%1000+1, 10)
}

func writeUsers(w io.Writer, n int) error {
	if _, err := io.WriteString(w, "user,country\n"); err != nil {
		return err
	}
	for i := range n {
		if _, err := fmt.Fprintf(w, "%d,country-%03d\n", i, spread(uint64(i))%200); err != nil {
			return err
		}
	}
	return nil
}

// appendLongKey appends an address of 1,000 bytes, with a beginning that all share and a random
// end.
func appendLongKey(dst []byte, i, scale int) []byte {
	n := uint64(i % (longKeys / scale))
	end := len(dst) + 1000
	dst = append(dst, "https://shop.example.com/catalogue/products/"...)
	for j := uint64(0); len(dst) < end; j++ {
		dst = append(strconv.AppendUint(dst, spread(n<<8+j), 36), '/')
	}
	return dst[:end]
}

func appendKey(dst []byte, i, _ int) []byte {
	key := strconv.FormatUint(spread(uint64(i)), 16)
	return append(append(dst, strings.Repeat("0", 16-len(key))...), key...)
}
