package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Member describes a process of the cluster.
type Member struct {
	// Name is the process name, different for every start of a process; see FreshName.
	Name string
	// Role is coordinator, worker, or task-worker, which runs only queued tasks.
	Role string
	// ID is the lasting ID of the data directory, for a worker its worker ID. It is empty when not
	// announced.
	ID string
	// Address is the process's gRPC address, host:port; empty without a gRPC server.
	Address string
	// HTTP is the address of its status pages and metrics, host:port; empty without them.
	HTTP string
	// Slots is the number of attempts that a worker runs at once.
	Slots int
	// Zone is the zone of the process; empty when the cluster has no zones.
	Zone string
	// Platform is GOOS/GOARCH.
	Platform string
	// Version is the version of the program.
	Version string
	// Gossip is the member's gossip address, host:port. Members sets it; it is ignored in
	// Config.Self.
	Gossip string
}

// maxMeta is the maximum size of a member's metadata in bytes, without its name. memberlist panics
// above 512.
const maxMeta = 255

// metaVersion is the first byte of the metadata. Other versions are refused. Fields added at the
// end are ignored, so older processes accept newer members.
const metaVersion = 1

// fields returns pointers to the texts of a member, in the order of the metadata.
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
		return nil, fmt.Errorf("gossip: role %q, id %q, addresses %q and %q, zone %q, platform and version %q take %d bytes, more than the %d that fit in a gossip packet; use a shorter zone or address",
			m.Role, m.ID, m.Address, m.HTTP, m.Zone, m.Version, len(b), maxMeta)
	}
	return b, nil
}

var errMeta = errors.New("not the metadata of a member; is it another program or another version?")

// decode parses metadata from an untrusted source.
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
