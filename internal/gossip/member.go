package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Member is what a process says of itself, and where its gossip comes from.
type Member struct {
	// Name is another one for every start of a process; see FreshName.
	Name string
	// Role is coordinator, worker, or task-worker, which runs tasks only.
	Role string
	// ID is the lasting name of the data directory; empty when it is not told.
	ID string
	// Address is where the process serves gRPC, host:port; empty when it does not.
	Address string
	// HTTP is where it serves status and metrics, host:port; empty when it does not.
	HTTP string
	// Slots is how many attempts a worker runs at once.
	Slots int
	// Zone is where it stands; empty when there are no zones.
	Zone string
	// Platform is GOOS/GOARCH.
	Platform string
	// Version is that of the program.
	Version string
	// Gossip is where its gossip comes from, host:port. Members finds it out; it is not needed in Config.
	Gossip string
}

// maxMeta is how many bytes a member may say of itself, the name aside. memberlist panics beyond 512.
const maxMeta = 255

// metaVersion is the first byte of the metadata. A later form that starts with other bytes is refused by this one; fields
// that are added at the end are skipped.
const metaVersion = 1

// fields are the texts of a member in the order of the metadata.
func (m *Member) fields() []*string {
	return []*string{&m.Role, &m.ID, &m.Address, &m.HTTP, &m.Zone, &m.Platform, &m.Version}
}

// encode returns the metadata of a member.
func (m Member) encode() ([]byte, error) {
	if m.Role == "" {
		return nil, errors.New("gossip: Role of a member is empty")
	}
	if m.Slots < 0 {
		return nil, fmt.Errorf("gossip: Slots %d of a member is negative", m.Slots)
	}
	b := binary.AppendUvarint([]byte{metaVersion}, uint64(m.Slots))
	for _, f := range m.fields() {
		b = binary.AppendUvarint(b, uint64(len(*f)))
		b = append(b, *f...)
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("gossip: role %q, id %q, addresses %q and %q, zone %q, platform and version %q take %d bytes, at most %d can be told to others; use a shorter zone or address",
			m.Role, m.ID, m.Address, m.HTTP, m.Zone, m.Version, len(b), maxMeta)
	}
	return b, nil
}

var errMeta = errors.New("metadata is not that of a member; is it another program, or another version?")

// decode reads metadata that came from anywhere.
func decode(name string, b []byte) (Member, error) {
	if len(b) == 0 || len(b) > maxMeta || b[0] != metaVersion {
		return Member{}, errMeta
	}
	b = b[1:]
	slots, k := binary.Uvarint(b)
	if k <= 0 || slots > 1<<20 {
		return Member{}, errMeta
	}
	b = b[k:]
	m := Member{Name: name, Slots: int(slots)}
	for _, f := range m.fields() {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return Member{}, errMeta
		}
		*f = string(b[k : k+int(n)])
		b = b[k+int(n):]
	}
	if m.Role == "" {
		return Member{}, errMeta
	}
	return m, nil
}
