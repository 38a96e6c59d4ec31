package remote

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// inPlace answers for datasets, and reads files of this machine in place of a client's.
type inPlace struct {
	*Router
	lender *Lender
}

// InPlaceOf returns a Caller that passes calls for datasets to r. It reads files of this machine in
// place of the files of the client with a volume, and writes none. A person who runs an attempt of
// that client's job again has it, with the person's own rights.
func InPlaceOf(volume string, r *Router) (Caller, error) {
	l, err := NewLender(strings.TrimPrefix(volume, clientVolume))
	if err != nil {
		return nil, err
	}
	return &inPlace{r, l}, nil
}

// Call carries out one operation on one file.
func (p *inPlace) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if !strings.HasPrefix(req.GetVolume(), clientVolume) {
		return p.Router.Call(ctx, req)
	}
	switch req.GetOperation().(type) {
	case *layshaftv1.CallRequest_Stat, *layshaftv1.CallRequest_Read:
		if _, err := (lendingFS{lender: p.lender}).Lend(req.GetName()); err != nil {
			return nil, err
		}
	}
	resp, err := p.lender.Call(ctx, req)
	if err == nil && resp.GetReason() == layshaftv1.FileError_FILE_ERROR_NOT_EXIST {
		return errorResponse(req, fmt.Errorf("%s is not on this machine: %w; it is a file of the program that submitted the job, so use its machine", req.GetName(), fs.ErrNotExist)), nil
	}
	return resp, err
}
