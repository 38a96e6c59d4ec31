package gearman

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	maxUnique   = 64
	maxFunction = 512
	// maxHandle is the length of libgearman's buffer for a handle, with a NUL.
	maxHandle = 64
	// minTimeout is the shortest effective CAN_DO_TIMEOUT, as in gearmand. Many workers send
	// seconds instead of milliseconds.
	minTimeout = time.Second
)

// The codes of ERROR packets known to libgearman.
const (
	codeInvalidCommand  = "INVALID_COMMAND"
	codeInvalidMagic    = "INVALID_MAGIC"
	codeInvalidPacket   = "INVALID_PACKET"
	codeTooLarge        = "ARGUMENT_TOO_LARGE"
	codeInvalidArgument = "INVALID_ARGUMENT"
	codeJobNotFound     = "JOB_NOT_FOUND"
	codeUnknownOption   = "UNKNOWN_OPTION"
	codeQueue           = "QUEUE_ERROR"
)

func (c *conn) sendError(code, text string) { c.send(Error, []byte(code), []byte(text)) }

// sendRefusal answers bytes that end the connection. Bytes outside of any packet get no answer.
func (c *conn) sendRefusal(err error) {
	switch {
	case errors.Is(err, errType):
		c.sendError(codeInvalidCommand, "Invalid command expected")
	case errors.Is(err, errLarge):
		c.sendError(codeTooLarge, err.Error())
	case errors.Is(err, errBusy):
		c.sendError(codeQueue, err.Error())
	case errors.Is(err, errArgs):
		c.sendError(codeInvalidPacket, err.Error())
	}
}

// refuse answers a packet that is too large for its job; start is the start of its body. Only the
// job suffers: a job whose result is too large fails, as another attempt would not help.
func (c *conn) refuse(p packet, start []byte, err error) {
	if !p.hasHandle() {
		c.sendRefusal(err)
		return
	}
	handle, _, _ := bytes.Cut(start, []byte{0})
	if c.session.Refuse(c.server.parseHandle(handle), err.Error()) != nil {
		c.sendError(codeJobNotFound, "Job given in work result not found")
	}
}

// request handles one packet. immutable means that its body never changes. An error ends the
// connection. The broker's lock is held.
func (c *conn) request(p packet, immutable bool) error {
	if p.response {
		c.sendError(codeInvalidMagic, "Request magic expected")
		return nil
	}
	a := &c.args
	if err := p.args(a); err != nil {
		c.sendRefusal(err)
		return err
	}
	switch p.typ {
	case SubmitJob, SubmitJobBG, SubmitJobHigh, SubmitJobHighBG, SubmitJobLow, SubmitJobLowBG, SubmitJobEpoch, SubmitReduceJob,
		SubmitReduceJobBG:
		return c.submit(p.typ, immutable)
	case GrabJob, GrabJobUniq, GrabJobAll:
		c.grab(p.typ)
	case PreSleep:
		if c.session.Sleep() {
			c.send(Noop)
		}
	case WorkStatus:
		c.passUpdate(Update{Kind: p.typ, Data: a[1], Denominator: a[2], Immutable: immutable})
	case WorkComplete, WorkData, WorkWarning, WorkException:
		c.passUpdate(Update{Kind: p.typ, Data: a[1], Immutable: immutable})
	case WorkFail:
		c.passUpdate(Update{Kind: p.typ})
	case CanDo, CanDoTimeout:
		c.addAbility(p.typ)
	case CantDo:
		c.session.CantDo(a[0])
	case ResetAbilities:
		c.session.ResetAbilities()
	case SetClientID:
		c.name = string(a[0][:min(len(a[0]), maxUnique)])
	case GetStatus:
		c.sendStatus(StatusRes, a[0], c.server.Broker.Status(c.server.parseHandle(a[0])))
	case GetStatusUnique:
		c.sendStatus(StatusResUnique, a[0], c.server.Broker.StatusUnique(a[0]))
	case OptionReq:
		if !bytes.EqualFold(a[0], []byte("exceptions")) {
			c.sendError(codeUnknownOption, "Server does not recognize given option")
			break
		}
		c.exceptions = true
		c.send(OptionRes, a[0])
	case EchoReq:
		c.out.add(0, immutable, c.header(EchoRes, len(p.body)), p.body)
		c.scheduleFlush()
	default: // packets of the server, ALL_YOURS and SUBMIT_JOB_SCHED, as in gearmand
		c.sendError(codeInvalidCommand, "Command not expected")
	}
	return nil
}

// header starts a packet in the scratch buffer. size is the size of its body in bytes.
func (c *conn) header(t Type, size int) []byte {
	s := c.server
	s.scratch = appendHeader(s.scratch[:0], t, size)
	return s.scratch
}

func (c *conn) submit(t Type, immutable bool) error {
	a := &c.args
	sub := Submission{Function: a[0], Unique: a[1], Data: a[2], Immutable: immutable, Priority: Normal}
	switch t {
	case SubmitJobBG:
		sub.Background = true
	case SubmitJobHigh:
		sub.Priority = High
	case SubmitJobHighBG:
		sub.Priority, sub.Background = High, true
	case SubmitJobLow:
		sub.Priority = Low
	case SubmitJobLowBG:
		sub.Priority, sub.Background = Low, true
	case SubmitJobEpoch:
		at, err := strconv.ParseInt(string(a[2]), 10, 64)
		if err != nil {
			c.sendError(codeInvalidArgument, fmt.Sprintf("SUBMIT_JOB_EPOCH: time %.20q is not a number of seconds since 1970", a[2]))
			return nil
		}
		sub.Background, sub.After, sub.Data = true, at, a[3]
	case SubmitReduceJob, SubmitReduceJobBG:
		sub.Background, sub.Reducer, sub.Data = t == SubmitReduceJobBG, a[2], a[4]
	}
	switch {
	case len(sub.Unique) > maxUnique:
		c.sendError(codeTooLarge, "Unique value too large")
		return nil
	case len(sub.Function) > maxFunction || len(sub.Reducer) > maxFunction:
		c.sendError(codeTooLarge, "Function name too large")
		return nil
	}
	id, batch, err := c.session.Submit(sub)
	switch {
	case errors.Is(err, ErrEnding):
		return err // the client repeats a submit without an answer at the next server
	case err != nil:
		c.sendError(codeQueue, err.Error())
		return nil
	}
	c.gaveWork = c.gaveWork || batch > 0
	s := c.server
	b := appendHeader(s.scratch[:0], JobCreated, 0)
	b = s.appendHandle(b, id)
	setSize(b, len(b)-headerSize)
	s.scratch = b
	c.out.add(batch, false, b, nil)
	c.scheduleFlush()
	return nil
}

func (c *conn) grab(t Type) {
	j, ok := c.session.Grab()
	if !ok {
		c.send(NoJob)
		return
	}
	answer := JobAssign
	switch {
	case t == GrabJobAll && j.Reducer != "":
		answer = JobAssignAll
	case t != GrabJob:
		answer = JobAssignUniq
	}
	s := c.server
	b := appendHeader(s.scratch[:0], answer, 0)
	b = append(s.appendHandle(b, j.ID), 0)
	b = append(append(b, j.Function...), 0)
	if answer != JobAssign {
		b = append(append(b, j.Unique...), 0)
	}
	if answer == JobAssignAll {
		b = append(append(b, j.Reducer...), 0)
	}
	setSize(b, len(b)-headerSize+len(j.Data))
	s.scratch = b
	c.out.add(0, true, b, j.Data)
	c.scheduleFlush()
}

func (c *conn) passUpdate(u Update) {
	u.ID = c.server.parseHandle(c.args[0])
	c.gaveWork = c.gaveWork || u.Kind == WorkData || u.Kind == WorkWarning
	if err := c.session.Work(u); err != nil {
		c.sendError(codeJobNotFound, "Job given in work result not found")
	}
}

func (c *conn) addAbility(t Type) {
	function, timeout := c.args[0], time.Duration(0)
	if c.barredFromWork {
		c.sendError(codeInvalidCommand, "This certificate does not belong to a worker")
		return
	}
	if len(function) > maxFunction {
		c.sendError(codeTooLarge, "Function name too large")
		return
	}
	if t == CanDoTimeout {
		ms, err := strconv.ParseInt(string(c.args[1]), 10, 64)
		if err != nil || ms < 0 {
			c.sendError(codeInvalidArgument, fmt.Sprintf("CAN_DO_TIMEOUT: timeout %.20q is not a number of milliseconds", c.args[1]))
			return
		}
		if ms > 0 {
			timeout = max(minTimeout, time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond)))*time.Millisecond)
		}
	}
	c.session.CanDo(function, timeout)
}

func (c *conn) sendStatus(answer Type, key []byte, st JobStatus) {
	s := c.server
	b := appendHeader(s.scratch[:0], answer, 0)
	b = append(append(b, key...), 0)
	b = append(appendBool(b, st.Known), 0)
	b = append(appendBool(b, st.Running), 0)
	b = append(strconv.AppendUint(b, uint64(st.Numerator), 10), 0)
	b = strconv.AppendUint(b, uint64(st.Denominator), 10)
	if answer == StatusResUnique {
		b = strconv.AppendInt(append(b, 0), int64(st.Waiting), 10)
	}
	setSize(b, len(b)-headerSize)
	s.scratch = b
	c.out.add(0, false, b, nil)
	c.scheduleFlush()
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, '1')
	}
	return append(dst, '0')
}
