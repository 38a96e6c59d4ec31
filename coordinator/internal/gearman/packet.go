package gearman

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Type is the number of a packet.
type Type uint32

// The packets of the protocol, numbered as in the PROTOCOL document of gearmand. Numbers 0 and 5
// and numbers above 42 were never assigned.
const (
	CanDo             Type = 1
	CantDo            Type = 2
	ResetAbilities    Type = 3
	PreSleep          Type = 4
	Noop              Type = 6
	SubmitJob         Type = 7
	JobCreated        Type = 8
	GrabJob           Type = 9
	NoJob             Type = 10
	JobAssign         Type = 11
	WorkStatus        Type = 12
	WorkComplete      Type = 13
	WorkFail          Type = 14
	GetStatus         Type = 15
	EchoReq           Type = 16
	EchoRes           Type = 17
	SubmitJobBG       Type = 18
	Error             Type = 19
	StatusRes         Type = 20
	SubmitJobHigh     Type = 21
	SetClientID       Type = 22
	CanDoTimeout      Type = 23
	AllYours          Type = 24
	WorkException     Type = 25
	OptionReq         Type = 26
	OptionRes         Type = 27
	WorkData          Type = 28
	WorkWarning       Type = 29
	GrabJobUniq       Type = 30
	JobAssignUniq     Type = 31
	SubmitJobHighBG   Type = 32
	SubmitJobLow      Type = 33
	SubmitJobLowBG    Type = 34
	SubmitJobSched    Type = 35
	SubmitJobEpoch    Type = 36
	SubmitReduceJob   Type = 37
	SubmitReduceJobBG Type = 38
	GrabJobAll        Type = 39
	JobAssignAll      Type = 40
	GetStatusUnique   Type = 41
	StatusResUnique   Type = 42
	lastType               = StatusResUnique
	headerSize             = 12
	maxArgs                = 8 // SUBMIT_JOB_SCHED has the most
	defaultMaxBody         = 64 << 20
)

// types holds the name and number of arguments of each packet. The last argument is the rest of
// the body and may contain NULs.
var types = [lastType + 1]struct {
	name string
	args int
}{
	CanDo: {"CAN_DO", 1}, CantDo: {"CANT_DO", 1}, ResetAbilities: {"RESET_ABILITIES", 0}, PreSleep: {"PRE_SLEEP", 0},
	Noop: {"NOOP", 0}, SubmitJob: {"SUBMIT_JOB", 3}, JobCreated: {"JOB_CREATED", 1}, GrabJob: {"GRAB_JOB", 0},
	NoJob: {"NO_JOB", 0}, JobAssign: {"JOB_ASSIGN", 3}, WorkStatus: {"WORK_STATUS", 3}, WorkComplete: {"WORK_COMPLETE", 2},
	WorkFail: {"WORK_FAIL", 1}, GetStatus: {"GET_STATUS", 1}, EchoReq: {"ECHO_REQ", 1}, EchoRes: {"ECHO_RES", 1},
	SubmitJobBG: {"SUBMIT_JOB_BG", 3}, Error: {"ERROR", 2}, StatusRes: {"STATUS_RES", 5}, SubmitJobHigh: {"SUBMIT_JOB_HIGH", 3},
	SetClientID: {"SET_CLIENT_ID", 1}, CanDoTimeout: {"CAN_DO_TIMEOUT", 2}, AllYours: {"ALL_YOURS", 0},
	WorkException: {"WORK_EXCEPTION", 2}, OptionReq: {"OPTION_REQ", 1}, OptionRes: {"OPTION_RES", 1}, WorkData: {"WORK_DATA", 2},
	WorkWarning: {"WORK_WARNING", 2}, GrabJobUniq: {"GRAB_JOB_UNIQ", 0}, JobAssignUniq: {"JOB_ASSIGN_UNIQ", 4},
	SubmitJobHighBG: {"SUBMIT_JOB_HIGH_BG", 3}, SubmitJobLow: {"SUBMIT_JOB_LOW", 3}, SubmitJobLowBG: {"SUBMIT_JOB_LOW_BG", 3},
	SubmitJobSched: {"SUBMIT_JOB_SCHED", 8}, SubmitJobEpoch: {"SUBMIT_JOB_EPOCH", 4}, SubmitReduceJob: {"SUBMIT_REDUCE_JOB", 5},
	SubmitReduceJobBG: {"SUBMIT_REDUCE_JOB_BACKGROUND", 5}, GrabJobAll: {"GRAB_JOB_ALL", 0}, JobAssignAll: {"JOB_ASSIGN_ALL", 5},
	GetStatusUnique: {"GET_STATUS_UNIQUE", 1}, StatusResUnique: {"STATUS_RES_UNIQUE", 6},
}

// String returns the name in the PROTOCOL document, such as SUBMIT_JOB_BG.
func (t Type) String() string {
	if t.isKnown() {
		return types[t].name
	}
	return fmt.Sprintf("packet %d", uint32(t))
}

func (t Type) isKnown() bool { return t <= lastType && types[t].name != "" }

var (
	errMagic = errors.New("not the start of a packet")
	errLarge = errors.New("packet too large")
	errType  = errors.New("unknown packet number")
	errArgs  = errors.New("too few arguments")
)

var (
	magicRequest  = [4]byte{0, 'R', 'E', 'Q'}
	magicResponse = [4]byte{0, 'R', 'E', 'S'}
)

// packet is a binary packet. Its body aliases the input buffer.
type packet struct {
	typ      Type
	response bool
	body     []byte
}

// belongsToJob reports whether the packet submits a job or is a worker's update with a payload.
func (p packet) belongsToJob() bool { return !p.response && types[p.typ].args > 1 }

// hasHandle reports whether the packet is a worker's update of a job, which begins with its handle.
func (p packet) hasHandle() bool {
	return p.typ == WorkComplete || p.typ == WorkData || p.typ == WorkWarning || p.typ == WorkException || p.typ == WorkStatus
}

// decodeHeader decodes the header at the start of b and returns the size of the body. ok is false
// if b is too short. It refuses wrong bytes as soon as they arrive.
func decodeHeader(b []byte, maxBody int) (p packet, size int, ok bool, err error) {
	if n := min(len(b), 4); !bytes.Equal(b[:n], magicRequest[:n]) && !bytes.Equal(b[:n], magicResponse[:n]) {
		return p, 0, false, fmt.Errorf("%w: %q", errMagic, b[:n])
	}
	if len(b) < headerSize {
		return p, 0, false, nil
	}
	p.typ, p.response = Type(binary.BigEndian.Uint32(b[4:])), b[3] == 'S'
	if !p.typ.isKnown() {
		return p, 0, false, fmt.Errorf("%w: %d", errType, uint32(p.typ))
	}
	n := binary.BigEndian.Uint32(b[8:])
	if uint64(n) > uint64(maxBody) {
		return p, int(n), false, fmt.Errorf("%w: %v of %d bytes, limit %d", errLarge, p.typ, n, maxBody)
	}
	return p, int(n), true, nil
}

// args splits the body at NULs into the arguments of the packet's type. It fails if there are too
// few.
func (p packet) args(dst *[maxArgs][]byte) error {
	n, rest := types[p.typ].args, p.body
	if n == 0 {
		return nil
	}
	for i := range n - 1 {
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			return fmt.Errorf("%v: %w: %d instead of %d", p.typ, errArgs, i+1, n)
		}
		dst[i], rest = rest[:end], rest[end+1:]
	}
	dst[n-1] = rest
	return nil
}

// appendHeader starts a response packet. size counts the arguments and the NULs between them.
func appendHeader(dst []byte, t Type, size int) []byte {
	dst = append(dst, magicResponse[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t))
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// setSize overwrites the body size in a header.
func setSize(header []byte, size int) { binary.BigEndian.PutUint32(header[8:], uint32(size)) }

// appendPacket appends a complete response packet.
func appendPacket(dst []byte, t Type, args ...[]byte) []byte {
	size := max(0, len(args)-1)
	for _, a := range args {
		size += len(a)
	}
	dst = slices.Grow(dst, headerSize+size)
	dst = appendHeader(dst, t, size)
	for i, a := range args {
		if i > 0 {
			dst = append(dst, 0)
		}
		dst = append(dst, a...)
	}
	return dst
}
