package wire

import "fmt"

// Protocol is the version of the wire, layshaft.v1, that this program speaks. The first message of a
// worker, a task worker and a client carries it. It grows when a peer of the version before could
// misunderstand a message; a new field that the peer may ignore does not need a new number.
const Protocol = 1

// CheckProtocol returns an error that wraps ErrOtherProtocol unless version is Protocol. The sender,
// such as "worker w1", is for the error.
func CheckProtocol(sender string, version int32) error {
	if version == Protocol {
		return nil
	}
	older := sender
	if version > Protocol {
		older = "the coordinator"
	}
	return fmt.Errorf("%w: %s speaks version %d, this coordinator speaks version %d; install the release of the other side for %s",
		ErrOtherProtocol, sender, version, Protocol, older)
}
