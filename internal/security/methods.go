package security

import (
	"context"
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/wire"
)

// methods contains the roles allowed to call each method. Other methods are refused. A client's
// code runs on workers, so a client has all permissions of that code.
var methods = map[string][]Role{
	"/layshaft.v1.CoordinatorService/Submit":      {Client},
	"/layshaft.v1.CoordinatorService/Plan":        {Client},
	"/layshaft.v1.CoordinatorService/Cancel":      {Client},
	"/layshaft.v1.CoordinatorService/Detach":      {Client},
	"/layshaft.v1.CoordinatorService/Drop":        {Client},
	"/layshaft.v1.CoordinatorService/Watch":       {Client, Reader},
	"/layshaft.v1.CoordinatorService/ListJobs":    {Client, Reader},
	"/layshaft.v1.CoordinatorService/GetLaunch":   {Client},
	"/layshaft.v1.CoordinatorService/Diagnose":    {Client}, // logs name inputs and users
	"/layshaft.v1.CoordinatorService/GetHistory":  {Client, Reader},
	"/layshaft.v1.CoordinatorService/PutProfile":  {Client},
	"/layshaft.v1.CoordinatorService/GetProfile":  {Client, Reader},
	"/layshaft.v1.CoordinatorService/GetOutput":   {Client, Reader},
	"/layshaft.v1.CoordinatorService/GetSpec":     {Client, Reader, Worker},
	"/layshaft.v1.CoordinatorService/Commits":     {Client},
	"/layshaft.v1.CoordinatorService/ReportLost":  {Client, Worker},
	"/layshaft.v1.CoordinatorService/ListWorkers": {Client, Reader, Worker}, // a worker looks up the holders of datasets
	"/layshaft.v1.CoordinatorService/DrainWorker": {Client},
	"/layshaft.v1.CoordinatorService/FindFiles":   {Client, Worker},
	"/layshaft.v1.CoordinatorService/PutCode":     {Client},
	"/layshaft.v1.CoordinatorService/GetCode":     {Worker},
	"/layshaft.v1.CoordinatorService/Backup":      {Client},
	"/layshaft.v1.CoordinatorService/Work":        {Worker},

	// Queued tasks may submit more tasks, so their workers may too.
	"/layshaft.v1.TasksService/SubmitTasks":     {Client, Worker},
	"/layshaft.v1.TasksService/CallTasks":       {Client, Worker},
	"/layshaft.v1.TasksService/WaitTask":        {Client, Worker},
	"/layshaft.v1.TasksService/OpenGroup":       {Client, Worker},
	"/layshaft.v1.TasksService/CloseGroup":      {Client, Worker},
	"/layshaft.v1.TasksService/CancelTasks":     {Client, Worker},
	"/layshaft.v1.TasksService/RetryTasks":      {Client},
	"/layshaft.v1.TasksService/RunTasks":        {Client},
	"/layshaft.v1.TasksService/DropTasks":       {Client},
	"/layshaft.v1.TasksService/GetTask":         {Client, Worker, Reader},
	"/layshaft.v1.TasksService/ListTasks":       {Client, Reader},
	"/layshaft.v1.TasksService/ListDeadTasks":   {Client, Reader},
	"/layshaft.v1.TasksService/SetFunction":     {Client},
	"/layshaft.v1.TasksService/PauseFunction":   {Client},
	"/layshaft.v1.TasksService/DropFunction":    {Client},
	"/layshaft.v1.TasksService/SetBudget":       {Client},
	"/layshaft.v1.TasksService/ListFunctions":   {Client, Reader},
	"/layshaft.v1.TasksService/WatchFunctions":  {Client, Reader},
	"/layshaft.v1.TasksService/ListTaskWorkers": {Client, Reader},
	"/layshaft.v1.TasksService/SetSchedule":     {Client},
	"/layshaft.v1.TasksService/RemoveSchedule":  {Client},
	"/layshaft.v1.TasksService/PauseSchedule":   {Client},
	"/layshaft.v1.TasksService/RunSchedule":     {Client},
	"/layshaft.v1.TasksService/ListSchedules":   {Client, Reader},
	"/layshaft.v1.TasksService/WorkTasks":       {Worker},

	"/layshaft.v1.MembersService/ListMembers":        {Client, Reader},
	"/layshaft.v1.MembersService/AddMember":          {Client},
	"/layshaft.v1.MembersService/RemoveMember":       {Client},
	"/layshaft.v1.MembersService/TransferLeadership": {Client},

	"/layshaft.v1.WorkerService/GetManifest":    {Client, Worker},
	"/layshaft.v1.WorkerService/ReadOutput":     {Client, Worker},
	"/layshaft.v1.WorkerService/Lend":           {Client},
	"/layshaft.v1.WorkerService/ListSetAside":   {Client},
	"/layshaft.v1.WorkerService/DiagnoseWorker": {Client},

	"/layshaft.v1.FilesService/Call": {Client, Coordinator, Worker},

	// Only a worker and its own child use these, over a private socket.
	"/layshaft.runner.v1.RunnerService/Load": {},
	"/layshaft.runner.v1.RunnerService/Run":  {},
}

// Authorize returns an error if the caller may not call the method, given by its full name. The
// error wraps wire.ErrUnauthenticated or wire.ErrForbidden. It is for servers that require TLS.
func Authorize(ctx context.Context, fullMethod string) error {
	id := PeerIdentity(ctx)
	switch {
	case id.Role == "":
		return fmt.Errorf("%s from %s: %w: the peer presented no certificate of the cluster", fullMethod, id, wire.ErrUnauthenticated)
	case !slices.Contains(methods[fullMethod], id.Role):
		return fmt.Errorf("%s by %s: %w; allowed roles: %v", fullMethod, id, wire.ErrForbidden, methods[fullMethod])
	}
	return nil
}
