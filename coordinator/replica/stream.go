package replica

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A connection between members begins with one byte, the kind of the connection:
//
//	'i'                           asks for the identity
//	'r' | length 1 | member ID    carries the messages of raft to this member
//
// The answer to the first is the length in 4 bytes and an identity in JSON. The answer to the
// second is a byte 1, or the length and text of a refusal: the member at an address may be another
// one than before, with an empty directory. It must not confirm what it has forgotten.
const (
	askIdentity = 'i'
	carryRaft   = 'r'
)

// handshakeWait limits the start of a connection.
const handshakeWait = 5 * time.Second

// identity describes a member to the others.
type identity struct {
	ID string
	// Group means that the member belongs to a group.
	Group bool
	// HasState means that the directory has the state of a single coordinator.
	HasState bool
	// Cluster is the name of the cluster, or "" if the member has not learnt it yet.
	Cluster string
	// Joins is the name of the cluster that the member has found at its peers when it began with an
	// empty directory, or "".
	Joins string `json:",omitempty"`
	// Full means that the disk of the member has little room.
	Full bool `json:",omitempty"`
	// Members are the IDs of the members, if this one leads.
	Members []string `json:",omitempty"`
	// Aside is the path of a former directory whose files were damaged, or "".
	Aside string `json:",omitempty"`
	// HTTP is the address of the member's pages, or "".
	HTTP string
	// Leader is the address of the leader that the member follows, or "".
	Leader string
	// Applied is the index of the last entry of the log that the member has applied.
	Applied uint64
}

// errNoMember means that something answers at an address, but not a member of a group.
var errNoMember = errors.New("it answers, but not as one of several coordinators: is it a single coordinator, without -peers, or another program?")

// streams accepts and opens the connections between members. It implements raft.StreamLayer.
type streams struct {
	self     string
	listener net.Listener
	dial     func(ctx context.Context, address string) (net.Conn, error)
	// identify returns the identity of this member.
	identify func() identity
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
}

// joinAddress returns the address of a member for raft.
func joinAddress(id, address string) raft.ServerAddress {
	return raft.ServerAddress(id + "@" + address)
}

// splitAddress returns the host and port of a member's address.
func splitAddress(a raft.ServerAddress) (id, address string) {
	id, address, _ = strings.Cut(string(a), "@")
	return id, address
}

// run accepts connections until Close.
func (s *streams) run() error {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.closed:
				s.wg.Wait()
				return nil
			default:
				return fmt.Errorf("replica: %w", err)
			}
		}
		s.wg.Go(func() { s.receive(c) })
	}
}

// receive handles the start of an incoming connection.
func (s *streams) receive(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(handshakeWait))
	var kind [1]byte
	_, err := io.ReadFull(c, kind[:])
	switch {
	case err != nil:
	case kind[0] == askIdentity:
		b, _ := json.Marshal(s.identify())
		_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	case kind[0] == carryRaft:
		if s.receiveRaft(c) {
			return
		}
	}
	_ = c.Close()
}

// receiveRaft passes a connection to raft. It returns false after a refusal.
func (s *streams) receiveRaft(c net.Conn) bool {
	var size [1]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return false
	}
	id := make([]byte, size[0])
	if _, err := io.ReadFull(c, id); err != nil {
		return false
	}
	if string(id) != s.self {
		text := fmt.Sprintf("the coordinator at this address is now %s, not %s: its directory is another one", s.self, id)
		_, _ = c.Write(append([]byte{0, byte(len(text))}, text...))
		return false
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return false
	}
	_ = c.SetDeadline(time.Time{})
	select {
	case s.incoming <- c:
		return true
	case <-s.closed:
		return false
	}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *streams) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		err = s.listener.Close()
	})
	return err
}

// Addr implements net.Listener.
func (s *streams) Addr() net.Addr { return s.listener.Addr() }

// Dial implements raft.StreamLayer.
func (s *streams) Dial(a raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	id, address := splitAddress(a)
	c, err := s.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	if err := openRaft(c, id); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

// errOther means that another member has an address.
var errOther = errors.New("another coordinator is at this address")

func openRaft(c net.Conn, id string) error {
	if _, err := c.Write(append([]byte{carryRaft, byte(len(id))}, id...)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	if answer[0] == 1 {
		return nil
	}
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	text := make([]byte, answer[0])
	if _, err := io.ReadFull(c, text); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", errOther, text)
}

// ask returns the identity of the member at address.
func (s *streams) ask(ctx context.Context, address string) (who identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	c, err := s.dial(ctx, address)
	if err != nil {
		return who, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	if _, err := c.Write([]byte{askIdentity}); err != nil {
		return who, err
	}
	var size uint32
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return who, notMember(err)
	}
	if size > 1<<16 {
		return who, errNoMember
	}
	b, err := io.ReadAll(io.LimitReader(bufio.NewReader(c), int64(size)))
	if err != nil {
		return who, notMember(err)
	}
	if err := json.Unmarshal(b, &who); err != nil || who.ID == "" {
		return who, errNoMember
	}
	return who, nil
}

// notMember returns errNoMember if a peer has ended a connection instead of an answer.
func notMember(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("it is connected but does not answer: it hangs, or is no coordinator (%w)", err)
	}
	return fmt.Errorf("%w (%w)", errNoMember, err)
}
