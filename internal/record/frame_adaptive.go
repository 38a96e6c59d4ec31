package record

// Adaptive compresses frames with S2 as long as they shrink. When a frame shrinks by less than a
// quarter, the next 16 frames are stored as they are; after another bad sample 32, and so on up to
// 256. Payloads under 256 bytes are always stored as they are, and are no samples. The result
// depends only on the payloads. The zero value is ready; only one goroutine may use it.
type Adaptive struct {
	// skip is how many of the next frames to store as they are; wait is its value after the last
	// bad sample.
	skip, wait int
}

// AppendFrame appends payload as one frame to dst, like the function AppendFrame.
func (a *Adaptive) AppendFrame(dst, payload []byte) []byte {
	if len(payload) < 256 {
		return AppendFrame(dst, payload, None)
	}
	if a.skip > 0 {
		a.skip--
		return AppendFrame(dst, payload, None)
	}
	at := len(dst)
	dst = AppendFrame(dst, payload, S2)
	if stored := len(dst) - at - frameHeader; stored > len(payload)-len(payload)/4 {
		a.wait = min(max(16, 2*a.wait), 256)
		a.skip = a.wait
	} else {
		a.wait = 0
	}
	return dst
}
