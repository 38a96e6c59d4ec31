package wire

import (
	"context"
	"errors"
	"io/fs"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/state"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Errors that callers branch on, at either end of a connection. The roles give them names of their own.
var (
	// ErrInvalid means that a request makes no sense. Trying again cannot help.
	ErrInvalid = errors.New("invalid request")
	// ErrUnknownJob means that no job has that ID: it was never submitted, or was dropped.
	ErrUnknownJob = errors.New("unknown job")
	// ErrUnknownWorker means that no worker of that name has a lease.
	ErrUnknownWorker = errors.New("unknown worker")
	// ErrUnknownCode means that the program is not stored here.
	ErrUnknownCode = errors.New("unknown program")
	// ErrUnknownDataset means that no worker offers the dataset.
	ErrUnknownDataset = errors.New("unknown dataset")
	// ErrConflict means that the name is in use for something else.
	ErrConflict = errors.New("conflict")
	// ErrCannotRun means that no worker can run the program of a job.
	ErrCannotRun = errors.New("no worker can run the program")
	// ErrLeaseLost means that the caller has no lease: its reports do not count. It joins again.
	ErrLeaseLost = errors.New("lease lost")
	// ErrStaleEpoch means that another coordinator has replaced this one.
	ErrStaleEpoch = errors.New("stale epoch")
	// ErrOtherCluster means that a worker belongs to another cluster.
	ErrOtherCluster = errors.New("another cluster")
	// ErrOtherProtocol means that a peer speaks another version of the wire; see Protocol.
	ErrOtherProtocol = errors.New("another protocol version")
	// ErrStopped means that the coordinator has stopped. It may come back.
	ErrStopped = errors.New("coordinator stopped")
	// ErrUnavailable means that a peer cannot be reached or cannot answer now. Trying again may help.
	ErrUnavailable = errors.New("unavailable")
	// ErrDamaged means that stored bytes differ from the bytes that were written.
	ErrDamaged = errors.New("damaged")
	// ErrUnauthenticated means that the caller has no certificate of the cluster.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden means that the caller may not do this.
	ErrForbidden = errors.New("not permitted")
)

// faults is the table of errors and codes. gRPC itself reports codes without a reason, so the last
// row of a code stands for the code alone. Clients never retry ABORTED; they retry UNAVAILABLE at
// once and RESOURCE_EXHAUSTED after a while.
var faults = []struct {
	err    error
	code   codes.Code
	reason string
}{
	{ErrInvalid, codes.InvalidArgument, "INVALID"},
	{ErrUnknownJob, codes.NotFound, "UNKNOWN_JOB"},
	{ErrUnknownWorker, codes.NotFound, "UNKNOWN_WORKER"},
	{ErrUnknownCode, codes.NotFound, "UNKNOWN_CODE"},
	{ErrUnknownDataset, codes.NotFound, "UNKNOWN_DATASET"},
	{ErrConflict, codes.AlreadyExists, "CONFLICT"},
	{filesys.ErrAway, codes.FailedPrecondition, "AWAY"},
	{filesys.ErrGone, codes.Unavailable, "GONE"},
	{fs.ErrNotExist, codes.NotFound, "NOT_EXIST"},
	{ErrCannotRun, codes.FailedPrecondition, "CANNOT_RUN"},
	{ErrLeaseLost, codes.Aborted, "LEASE_LOST"},
	{ErrStaleEpoch, codes.Aborted, "STALE_EPOCH"},
	{ErrOtherCluster, codes.FailedPrecondition, "OTHER_CLUSTER"},
	{ErrOtherProtocol, codes.FailedPrecondition, "OTHER_PROTOCOL"},
	{state.ErrDiskFull, codes.ResourceExhausted, "DISK_FULL"},
	{ErrStopped, codes.Unavailable, "STOPPED"},
	{ErrUnavailable, codes.Unavailable, ""},
	{ErrDamaged, codes.DataLoss, "DAMAGED"},
	{ErrUnauthenticated, codes.Unauthenticated, ""},
	{ErrForbidden, codes.PermissionDenied, ""},
	{context.Canceled, codes.Canceled, ""},
	{context.DeadlineExceeded, codes.DeadlineExceeded, ""},
}

// maxMessageText limits the text of an error on the wire, in bytes: it travels in a header.
const maxMessageText = 16 << 10

// ToStatus converts an error to a status error, which gRPC sends to the other end. An error with a
// status keeps it; nil stays nil. A *job.Failure inside the error arrives as a *job.Failure; a lost
// input becomes DATA_LOSS.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if known, ok := status.FromError(err); ok {
		return known.Err()
	}
	code, fault := codes.Unknown, &layshaftv1.Fault{}
	var failure *job.Failure
	if errors.As(err, &failure) {
		fault.Failure = FailureToProto(failure)
		fault.Failure.Detail = cut(fault.Failure.Detail)
		if failure.Kind == job.InputLost {
			code = codes.DataLoss
		}
	}
	for _, f := range faults {
		if errors.Is(err, f.err) {
			code, fault.Reason = f.code, f.reason
			break
		}
	}
	st := status.New(code, cut(text(err.Error())))
	if fault.Reason == "" && fault.Failure == nil {
		return st.Err()
	}
	with, detailErr := st.WithDetails(fault)
	if detailErr != nil {
		return st.Err()
	}
	return with.Err()
}

func cut(s string) string {
	if len(s) > maxMessageText {
		return text(s[:maxMessageText]) + "…"
	}
	return s
}

// FromStatus makes an error of the other end what it was there: errors.Is and errors.As answer the same. Other errors, and
// nil, come back as they are.
func FromStatus(err error) error {
	var remote *RemoteError
	if err == nil || errors.As(err, &remote) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := &RemoteError{status: st}
	reason := ""
	for _, d := range st.Details() {
		if fault, ok := d.(*layshaftv1.Fault); ok {
			reason = fault.GetReason()
			if f, err := FailureFromProto(fault.GetFailure()); err == nil {
				e.is = append(e.is, f)
			}
		}
	}
	for _, f := range faults {
		if f.code == st.Code() && f.reason == reason {
			e.is = append(e.is, f.err)
			break
		}
	}
	return e
}

// RemoteError is an error of the other end of a connection, or one of the connection.
type RemoteError struct {
	status *status.Status
	is     []error
}

// Error returns the text of the other end.
func (e *RemoteError) Error() string { return e.status.Message() }

// Unwrap returns what the error stands for.
func (e *RemoteError) Unwrap() []error { return e.is }

// GRPCStatus returns the status it came in.
func (e *RemoteError) GRPCStatus() *status.Status { return e.status }
