package wire

import (
	"context"
	"errors"
	"io/fs"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Errors with a fixed code on the wire, so that both ends of a connection can test for them with
// errors.Is. Other packages export them under names of their own.
var (
	// ErrInvalid: the request makes no sense. Retrying cannot help.
	ErrInvalid = errors.New("invalid request")
	// ErrUnknownJob: no job has this ID. It was never submitted, or was dropped.
	ErrUnknownJob = errors.New("unknown job")
	// ErrUnknownWorker: no worker with this name has a lease.
	ErrUnknownWorker = errors.New("unknown worker")
	// ErrUnknownCode: the program is not stored here.
	ErrUnknownCode = errors.New("unknown program")
	// ErrUnknownDataset: no worker offers the dataset.
	ErrUnknownDataset = errors.New("unknown dataset")
	// ErrConflict: the name is in use for something else.
	ErrConflict = errors.New("conflict")
	// ErrCannotRun: no worker can run the program of the job.
	ErrCannotRun = errors.New("no worker can run the program")
	// ErrLeaseLost: the calling worker has no lease, and the coordinator ignores its reports. The
	// worker joins again.
	ErrLeaseLost = errors.New("lease lost")
	// ErrStaleEpoch: another coordinator has replaced this one.
	ErrStaleEpoch = errors.New("stale epoch")
	// ErrOtherCluster: the worker belongs to another cluster.
	ErrOtherCluster = errors.New("another cluster")
	// ErrOtherProtocol: the peer uses another version of the wire protocol; see Protocol.
	ErrOtherProtocol = errors.New("another protocol version")
	// ErrUnavailable: the peer cannot be reached or cannot answer now. Retrying may help.
	ErrUnavailable = errors.New("unavailable")
	// ErrStopped: the coordinator has stopped. It may restart. ErrStopped is an ErrUnavailable.
	ErrStopped error = &unavailable{"coordinator stopped"}
	// ErrNoLeader: the coordinator does not lead and cannot reach the leader. Another one may.
	// ErrNoLeader is an ErrUnavailable.
	ErrNoLeader error = &unavailable{"no leader"}
	// ErrDamaged: stored bytes differ from the written bytes.
	ErrDamaged = errors.New("damaged")
	// ErrUnauthenticated: the caller has no certificate of the cluster.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden: the caller may not do this.
	ErrForbidden = errors.New("not permitted")
)

// unavailable is a kind of ErrUnavailable. Every client repeats a call that ends with one.
type unavailable struct{ text string }

func (e *unavailable) Error() string { return e.text }

// Is implements the interface of errors.Is.
func (e *unavailable) Is(target error) bool { return target == ErrUnavailable }

// faults is the table of errors and their gRPC codes and reasons. A row without a reason stands for
// the code alone, because gRPC itself reports codes without a reason. Clients never retry ABORTED;
// they retry UNAVAILABLE at once and RESOURCE_EXHAUSTED after a while.
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
	{job.ErrDiskFull, codes.ResourceExhausted, "DISK_FULL"},
	{ErrStopped, codes.Unavailable, "STOPPED"},
	{ErrNoLeader, codes.Unavailable, "NO_LEADER"},
	{ErrUnavailable, codes.Unavailable, ""},
	{ErrDamaged, codes.DataLoss, "DAMAGED"},
	{ErrUnauthenticated, codes.Unauthenticated, ""},
	{ErrForbidden, codes.PermissionDenied, ""},
	{context.Canceled, codes.Canceled, ""},
	{context.DeadlineExceeded, codes.DeadlineExceeded, ""},
}

// maxMessageText limits the text of an error on the wire, in bytes: it travels in a header.
const maxMessageText = 16 << 10

// ToStatus converts an error to a gRPC status error. An error with a status keeps it; nil stays
// nil. FromStatus recovers a *job.Failure inside the error at the other end. A lost input becomes
// DATA_LOSS.
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

// FromStatus reverses ToStatus: it turns a status error into a *RemoteError, for which errors.Is
// and errors.As give the same results as for the original error. It returns other errors, and nil,
// unchanged.
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

// RemoteError is an error of the other end of a connection, or of the connection itself.
type RemoteError struct {
	status *status.Status
	is     []error
}

// Error returns the text of the other end.
func (e *RemoteError) Error() string { return e.status.Message() }

// Unwrap returns the original errors: an error of this package's table and a *job.Failure, if any.
func (e *RemoteError) Unwrap() []error { return e.is }

// GRPCStatus returns the received status.
func (e *RemoteError) GRPCStatus() *status.Status { return e.status }
