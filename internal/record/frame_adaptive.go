package record

// Adaptive compresses frames with S2 for as long as that pays. When a frame shrinks by less than a quarter it stores
// the next ones as they are, and tries again after 16 frames, then 32, up to 256. Payloads under 256 bytes are stored as
// they are and prove nothing. What it does depends on the payloads alone. The zero value is ready; it is used by one
// goroutine.
type Adaptive struct {
	skip, wait int // frames to store as they are: still, and after the last bad sample
}

// AppendFrame appends payload as one frame to dst, as the function of that name.
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
