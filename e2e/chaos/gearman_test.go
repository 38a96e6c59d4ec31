//go:build unix

package chaos

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// gearman submits background jobs by the Gearman protocol, each until it is acknowledged.
type gearman struct {
	s     *site
	acked map[string]int // submits of each job until the acknowledgement
}

func newGearman(s *site) *gearman { return &gearman{s: s, acked: map[string]int{}} }

func (g *gearman) run(ctx context.Context) {
	config := g.s.tlsConfig()
	var conn *tls.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	every(ctx, 10*time.Millisecond, func(i int) {
		in := fmt.Sprint("gearman-", i)
		late := time.Now().Add(settle)
		for tries := 1; ; tries++ {
			var err error
			if conn == nil {
				conn, err = tls.Dial("tcp", g.s.gearmanProxy.address, config)
			}
			if err == nil {
				err = submit(conn, in)
			}
			if err == nil {
				g.acked[in] = tries
				return
			}
			if conn != nil {
				conn.Close()
				conn = nil
			}
			if time.Now().After(late) {
				g.s.t.Errorf("%s was not acknowledged within %v: %v", in, settle, err)
				return
			}
			<-time.After(100 * time.Millisecond)
		}
	})
}

// submit sends SUBMIT_JOB_BG and waits for JOB_CREATED.
func submit(conn *tls.Conn, in string) error {
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	body := "count\x00" + in + "\x00" + in
	head := append([]byte("\x00REQ"), binary.BigEndian.AppendUint64(nil, 18<<32|uint64(len(body)))...)
	if _, err := conn.Write(append(head, body...)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, head); err != nil {
		return err
	}
	answer := make([]byte, binary.BigEndian.Uint32(head[8:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if kind := binary.BigEndian.Uint32(head[4:]); kind != 8 {
		return fmt.Errorf("answer of type %d: %q", kind, answer)
	}
	return nil
}

func (g *gearman) check() string {
	var lost []string
	for late := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
		ran := g.s.executions()
		lost = nil
		for in := range g.acked {
			if len(ran[in]) == 0 {
				lost = append(lost, in)
			}
		}
		if len(lost) == 0 || time.Now().After(late) {
			break
		}
	}
	for _, in := range lost {
		st, err := g.s.client.StatusUnique(context.Background(), "count", in)
		g.s.t.Errorf("%s was acknowledged and never executed: %+v, %v", in, st, err)
	}
	return fmt.Sprintf("%d Gearman jobs, %d lost", len(g.acked), len(lost))
}
