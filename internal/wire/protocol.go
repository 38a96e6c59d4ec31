package wire

import "fmt"

// Protocol is this program's version of the wire protocol layshaft.v1. Workers, task workers and
// clients send it in their first message. Increase it when a peer of the previous version could
// misunderstand a message. A new field does not need a new version if older peers may ignore it.
const Protocol = 1

// CheckProtocol returns an error wrapping ErrOtherProtocol unless version is Protocol. The error
// names the sender, such as "worker w1".
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
