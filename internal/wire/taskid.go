package wire

import (
	"strconv"
	"strings"
)

// ParseTaskID parses the ID of a task: 1 to 16 hexadecimal digits, or the handle of a Gearman job,
// such as H:host:17. Zero is no ID.
func ParseTaskID(text string) (id uint64, ok bool) {
	digits, base := text, 16
	if rest, handle := strings.CutPrefix(text, "H:"); handle {
		digits, base = rest[strings.LastIndexByte(rest, ':')+1:], 10
	}
	id, err := strconv.ParseUint(digits, base, 64)
	return id, err == nil && id != 0
}
