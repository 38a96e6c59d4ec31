package main

import (
	"net/netip"
	"time"

	"github.com/alecthomas/kong"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// cli is the grammar of the command line.
type cli struct {
	Config kong.ConfigFlag `placeholder:"FILE" help:"Read flags from FILE, as lines flag = value; # begins a comment. A flag that may be repeated has several lines."`

	Coordinator struct {
		Run     coordinatorCmd `cmd:"" default:"withargs" help:"Run the coordinator of a cluster, until SIGTERM. This is what \"layshaft coordinator\" does."`
		Backup  backupCmd      `cmd:"" help:"Back up the data of a running coordinator into a file."`
		Restore restoreCmd     `cmd:"" help:"Create a data directory from a backup."`
		Recover recoverCmd     `cmd:"" help:"Continue with one of several coordinators after the majority is lost for good."`
		Members struct {
			List     memberListCmd     `cmd:"" default:"withargs" help:"List the coordinators. This is what \"layshaft coordinator members\" does."`
			Add      memberAddCmd      `cmd:"" help:"Make a running coordinator with an empty directory a member. Returns when it has the state of the others."`
			Remove   memberRemoveCmd   `cmd:"" help:"Remove a coordinator, such as one that was destroyed."`
			Transfer memberTransferCmd `cmd:"" help:"Make another coordinator lead."`
		} `cmd:"" help:"List, add and remove the coordinators of a cluster with several."`
	} `cmd:"" help:"Run, back up, restore or recover a coordinator."`
	Worker struct {
		Run   workerCmd      `cmd:"" default:"withargs" help:"Run a worker, until SIGTERM drains it. This is what \"layshaft worker\" does."`
		List  workerListCmd  `cmd:"" help:"List the workers of a cluster."`
		Drain workerDrainCmd `cmd:"" help:"Drain a worker: it finishes its attempts, hands over its outputs, and leaves."`
	} `cmd:"" help:"Run, list or drain workers."`
	Dev devCmd `cmd:"" help:"Run a whole cluster on this machine, until ^C."`
	Job struct {
		List    jobListCmd    `cmd:"" help:"List jobs, newest first."`
		Show    jobShowCmd    `cmd:"" help:"Show the state of a job and its stages."`
		Cancel  jobCancelCmd  `cmd:"" help:"Cancel a job."`
		Wait    jobWaitCmd    `cmd:"" help:"Wait until a job ends, and exit with 0, 3 or 4."`
		Attempt jobAttemptCmd `cmd:"" help:"Show how an attempt ended: exit, memory, stack, last record, last lines, other workers."`
		Logs    jobLogsCmd    `cmd:"" help:"Show what the code of a job wrote to its standard output, standard error and log."`
		Trace   jobTraceCmd   `cmd:"" help:"Write the trace of all attempts of a job, for ui.perfetto.dev or chrome://tracing."`
		Profile jobProfileCmd `cmd:"" help:"Write the CPU profile of all attempts of a job that ran with -profile, for \"go tool pprof\", or as flame graphs."`
		Requeue jobRequeueCmd `cmd:"" name:"rerun-quarantine" help:"After a fix, run only the records that a finished job set aside, and add what they give to its output."`
		Report  jobReportCmd  `cmd:"" help:"Show the input and output of each stage of a job, and its workers."`
	} `cmd:"" help:"List, show, cancel, await jobs."`
	History  historyCmd  `cmd:"" help:"Show the jobs in the data of a stopped or running coordinator, or in a file of \"layshaft job report -history\"."`
	Report   reportCmd   `cmd:"" help:"Answer a SELECT over files, on this machine or on a cluster."`
	Task     taskCmd     `cmd:"" help:"Run, submit and manage tasks, or run a task worker for any program."`
	Schedule scheduleCmd `cmd:"" help:"Submit tasks and run programs at certain times."`
	Status   statusCmd   `cmd:"" help:"Show workers and jobs of a cluster on one screen."`
	Debug    struct {
		Bundle debugBundleCmd `cmd:"" help:"Write versions, settings without secrets, states, logs, goroutines and metrics of the coordinator and the workers into one archive."`
	} `cmd:"" help:"Collect what helps to find the cause of a problem."`
	Top   topCmd `cmd:"" help:"Watch jobs, functions and workers on one live screen, until q."`
	State struct {
		List stateListCmd `cmd:"" help:"List the jobs in a -state directory of programs, the latest first."`
		Drop stateDropCmd `cmd:"" help:"Remove jobs from a -state directory."`
	} `cmd:"" help:"List or drop the state of jobs that run inside programs."`
	PG struct {
		Install   pgInstallCmd   `cmd:"" help:"Make an outbox: a table, functions and triggers that queue tasks from transactions."`
		Uninstall pgUninstallCmd `cmd:"" help:"Remove the outbox with its triggers, and the tasks that wait in it."`
		Forward   pgForwardCmd   `cmd:"" help:"Move the tasks of an outbox to a cluster, until SIGTERM. A coordinator with -outbox needs no such process."`
		Replicate pgReplicateCmd `cmd:"" help:"Queue a task for each changed row of tables that get no triggers, from the log of the database, until SIGTERM."`
		Status    pgStatusCmd    `cmd:"" help:"Show how many tasks wait in an outbox."`
	} `cmd:"" name:"pg" help:"Queue tasks from transactions of PostgreSQL."`
	Cert struct {
		Init  certInitCmd  `cmd:"" help:"Create a certificate authority for a cluster."`
		Issue certIssueCmd `cmd:"" help:"Create a certificate and its key."`
	} `cmd:"" help:"Create certificates."`
	New        newCmd        `cmd:"" help:"Write a module with a pipeline over a file of yours, and its test."`
	Vet        vetCmd        `cmd:"" help:"Look for functions of pipelines that read flags, the clock, random numbers or the environment, or change variables outside of them."`
	Completion completionCmd `cmd:"" help:"Print the completion of commands and flags for a shell."`
	Manual     manualCmd     `cmd:"" hidden:"" help:"Write the manual pages."`
	Version    versionCmd    `cmd:"" help:"Print the version of this program."`
}

// tlsFlags are the certificates of a process.
type tlsFlags struct {
	TLSCA   string `name:"tls-ca" group:"Certificates" placeholder:"FILE" help:"Certificate of the cluster's CA, as PEM."`
	TLSCert string `name:"tls-cert" group:"Certificates" placeholder:"FILE" help:"Certificate of this process, as PEM. Reloaded when it changes."`
	TLSKey  string `name:"tls-key" group:"Certificates" placeholder:"FILE" help:"Private key of the certificate, as PEM."`
}

// gossipFlags are the flags of processes with gossip.
type gossipFlags struct {
	GossipKey     string `group:"Gossip" placeholder:"KEY" help:"Key of the cluster's gossip: 32 bytes in hex or base64, as \"openssl rand -hex 32\" prints. Prefer LAYSHAFT_GOSSIP_KEY or -gossip-key-file."`
	GossipKeyFile string `group:"Gossip" placeholder:"FILE" help:"File with the gossip key."`
	Label         string `group:"Gossip" default:"layshaft" placeholder:"NAME" help:"Name of the cluster; separates clusters on the same network."`
}

// memberFlags are the flags of coordinators and workers.
type memberFlags struct {
	tlsFlags
	Advertise string `placeholder:"HOST" help:"Host name or address under which others reach this machine. Default: the host of -listen, or the address with a route to -join."`
	gossipFlags
	GossipAllow []netip.Prefix `group:"Gossip" sep:"," placeholder:"CIDR" help:"Networks of permitted members, such as 10.1.0.0/16. Default: all."`
	Insecure    bool           `group:"Certificates" help:"Serve other machines without certificates and gossip key. Anyone who can reach the ports can then run code."`

	SameUser bool `group:"Certificates" help:"Accept gRPC calls only from processes of this user, and of root. For loopback addresses without certificates; on Linux."`

	NoSync  bool          `group:"Disk" help:"Do not force writes to the disk. Acknowledged data then survives the end of the process, but not a crash of the machine."`
	Reserve bytesize.Size `group:"Disk" default:"256MiB" placeholder:"BYTES" help:"Disk space to keep free; below it, new data is refused. 0 keeps none free."`

	LogLevel  string `group:"Log" enum:"debug,info,warn,error" default:"info" help:"Lowest level to log to standard error: debug, info, warn or error. The audit log of all actions and refusals is always written."`
	LogFormat string `group:"Log" enum:"text,json" default:"text" help:"Format of the log: text or json."`
	UntilEOF  bool   `name:"until-eof" hidden:"" help:"End at once when standard input ends."`
}

// coordinatorCmd runs a coordinator.
type coordinatorCmd struct {
	Data         string   `required:"" placeholder:"DIR" help:"Directory for the coordinator's data; created if missing."`
	Listen       string   `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Address for clients and workers (gRPC)."`
	HTTP         string   `name:"http" default:"127.0.0.1:7071" placeholder:"HOST:PORT" help:"Address of / (status pages), /metrics, /healthz and /readyz; none turns it off."`
	HTTPReadOnly bool     `name:"http-read-only" help:"Pages show commands in place of the buttons that change something."`
	Gossip       string   `default:"127.0.0.1:7946" placeholder:"HOST:PORT" help:"Address for gossip between members."`
	Join         []string `sep:"," placeholder:"HOST:PORT" help:"Gossip addresses of other members. Not needed if workers join the coordinator."`
	memberFlags

	Peers           []string      `group:"Several coordinators" sep:"," placeholder:"HOST:PORT" help:"Addresses (-listen or -advertise) of all coordinators of the cluster, this one too: three or five. They keep the same state, and any one can be destroyed. The first start waits for all of them. Default: a single coordinator."`
	ElectionTimeout time.Duration `group:"Several coordinators" default:"500ms" help:"How long the leader may be silent before the other coordinators elect another one."`

	AcceptLoss bool `group:"Disk" help:"Start with damaged data: drop damaged entries and tables of the journal and of the task store, and all later events, instead of refusing to start. Tasks that ended may then run again."`

	BackupTo    string        `group:"Backup" placeholder:"DIR|s3://BUCKET/PATH" help:"Write a backup here at intervals, read it again, and remove old ones. \"layshaft coordinator restore\" reads them. Default: no backups."`
	BackupEvery time.Duration `group:"Backup" default:"1h" help:"Interval of the backups."`
	BackupKeep  int           `group:"Backup" default:"24" placeholder:"NUMBER" help:"Number of backups to keep."`

	Adopt bool `group:"Disk" xor:"copy" help:"Start with a copy of another data directory that is gone, and continue its cluster. Needed once."`
	Fork  bool `group:"Disk" xor:"copy" help:"Make a cluster of its own from a copied data directory: it gets a new name, and workers need new data directories. Unfinished work of the copy runs there, too. Needed once."`

	Lease          time.Duration `group:"Scheduling" default:"10s" help:"How long a silent worker keeps its attempts."`
	LocalityWait   time.Duration `group:"Scheduling" default:"1s" help:"How long a split waits for a worker with a copy of it; 0s does not wait."`
	MaxAttempts    int           `group:"Scheduling" default:"4" help:"Number of failed attempts of a task after which its job fails, unless the job sets its own."`
	StragglerRatio float64       `group:"Scheduling" default:"1.5" help:"A second attempt starts once the first has run this many times longer than its stage's median; 0 means never."`
	BlockFor       time.Duration `group:"Scheduling" default:"1m" help:"How long a worker with repeated failures gets no attempts; 0s disables this."`
	Retain         time.Duration `group:"Scheduling" default:"168h" help:"How long a job is kept after its end; 0s means no limit."`
	KeepFailed     time.Duration `group:"Scheduling" default:"15m" help:"How long the outputs that failed attempts of a failed job have read stay on the workers, for \"layshaft task replay\"; 0s drops them when the job fails."`
	ClientLease    time.Duration `group:"Scheduling" default:"1m" help:"How long the client of an attached job may be away before the job is cancelled; 0s means no limit."`
	KeepCode       time.Duration `group:"Scheduling" default:"24h" help:"How long an unused program is kept; 0s removes it soon."`
	MaxCode        bytesize.Size `group:"Scheduling" default:"2GiB" placeholder:"BYTES" help:"Largest program that a client may send."`

	Statsd       string        `group:"Metrics" placeholder:"HOST:PORT" help:"Send metrics to this statsd server by UDP, such as 127.0.0.1:8125, and the counters of each job when it ends. Prometheus gets the metrics at /metrics. Default: none."`
	StatsdEvery  time.Duration `group:"Metrics" default:"10s" help:"Interval between two sends of metrics."`
	StatsdPrefix string        `group:"Metrics" default:"layshaft" placeholder:"NAME" help:"First words of the names of these metrics, with dots between."`

	gearmanFlags
	outboxFlags
	KeepDead   time.Duration `group:"Tasks" default:"2160h" help:"How long dead letters are kept: background tasks that have failed finally. 0s means no limit."`
	MaxDead    int           `group:"Tasks" default:"100000" placeholder:"NUMBER" help:"Dead letters kept per function; the oldest are dropped."`
	TaskMemory bytesize.Size `group:"Tasks" placeholder:"BYTES" help:"Memory for inputs and results of tasks; beyond it they go to disk. Default: an eighth of the machine's memory."`
}

// outboxFlags name the databases whose tasks a coordinator forwards.
type outboxFlags struct {
	Outbox []string `group:"Tasks" sep:"," placeholder:"DATABASE" help:"Queue the tasks that transactions write into the outboxes of these databases; see layshaft pg install."`
}

// gearmanFlags are the flags of the Gearman protocol.
type gearmanFlags struct {
	Gearman            string        `group:"Tasks" default:"none" placeholder:"HOST:PORT" help:"Address for Gearman clients and workers, such as 127.0.0.1:4730; none turns it off."`
	GearmanHTTP        string        `name:"gearman-http" group:"Tasks" default:"none" placeholder:"HOST:PORT" help:"Address for jobs over HTTP (POST /FUNCTION), as in gearmand; none turns it off."`
	GearmanDurability  string        `group:"Tasks" enum:"sync,none" default:"sync" help:"When to acknowledge a background job: sync waits until it is on disk, none keeps it in memory only."`
	GearmanRetryFailed bool          `group:"Tasks" help:"Retry a job after its Gearman worker reports a failure. By default the failure is final, as in gearmand."`
	GearmanRetries     []string      `sep:"," group:"Tasks" placeholder:"NUMBER|FUNCTION=NUMBER" help:"Largest number of attempts at a job whose worker is lost or too slow, for all functions or one; may be repeated. 0 means until it succeeds. Default: 0, as in gearmand; 5 with -gearman-retry-failed."`
	GearmanExceptions  bool          `group:"Tasks" help:"Send exceptions of workers also to clients that have not asked for them, like gearmand --exceptions."`
	GearmanMaxPayload  bytesize.Size `group:"Tasks" default:"64M" placeholder:"SIZE" help:"Largest input or result of a job, up to 1G. A larger one fails its job at once."`
	GearmanKeep        time.Duration `group:"Tasks" default:"0s" help:"How long the outcome and result of a background job are kept for \"layshaft task wait\" and \"status\" with -function and -unique. 0s keeps nothing, as in gearmand."`
}

// workerCmd runs a worker.
type workerCmd struct {
	Data   string   `required:"" placeholder:"DIR" help:"Directory for outputs and scratch files of this worker only; created if missing."`
	Join   []string `required:"" sep:"," placeholder:"HOST:PORT" help:"Gossip addresses of the coordinator or of other members; one reachable address is enough."`
	Listen string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address for other workers and clients (gRPC); port 0 chooses a free port."`
	HTTP   string   `name:"http" default:"none" placeholder:"HOST:PORT" help:"Address of / (status pages), /metrics, /healthz and /readyz; none turns it off."`
	Gossip string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address for gossip; port 0 chooses a free port."`
	memberFlags

	workFlags
	Zone  string        `placeholder:"NAME" help:"Zone of the worker. Data crosses zones only if necessary."`
	Tags  []string      `sep:"," placeholder:"TAG" help:"Labels of the worker, such as gpu; a job can require them."`
	Quota bytesize.Size `group:"Disk" default:"0" placeholder:"BYTES" help:"Disk space for outputs; 0 means no limit."`
	Drain time.Duration `default:"5m" help:"Time to finish attempts and hand over outputs after SIGTERM; 0s means none. A second signal ends the worker at once."`
	Grace time.Duration `default:"10s" help:"Time for user code to return after its attempt is cancelled, before its process is killed; 0s means none."`
}

// workFlags describe the resources of a worker.
type workFlags struct {
	Slots    int               `placeholder:"NUMBER" help:"Number of parallel attempts. Default: one per processor."`
	Reserved int               `placeholder:"NUMBER" help:"Slots reserved for interactive jobs."`
	Memory   bytesize.Size     `placeholder:"BYTES" help:"Memory of all attempts together before they spill to disk. Default: 60 % of the machine's memory."`
	Dataset  map[string]string `placeholder:"NAME=DIR" help:"Offer the files of DIR as dataset://NAME/, read-only. With NAME=DIR:rw, jobs may also write outputs there; they replace and remove only what jobs wrote. May be repeated."`
	FileRoot []string          `sep:"," placeholder:"DIR" help:"Let jobs read and write file:// paths below DIR, such as a shared file system. Without it they may use no such path. No link leads out of DIR. May be repeated."`
	Function map[string]string `mapsep:"none" placeholder:"NAME=COMMAND" help:"Run COMMAND, by sh -c, for each task of the function NAME, in the slots of this worker: see \"layshaft task work -h\". Tasks of high priority go before jobs of a priority below 10 and may use reserved slots, normal ones are like a job of priority 0, low ones of -10. May be repeated."`
	Code     []string          `sep:"," placeholder:"FILE" help:"Program that the worker may run jobs of. May be repeated."`

	ChildEnv []string `sep:"," placeholder:"NAME" help:"Variable of the worker's environment that programs and commands get, beside common ones such as PATH, HOME and AWS_*. NAME* means all that begin with NAME. May be repeated."`

	AllowShippedCode bool `help:"Also run programs sent by clients. Anyone who may submit jobs can then run any code as this user."`
}

// clusterFlags name the coordinator.
type clusterFlags struct {
	Cluster string `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Address of the coordinator, or several separated by commas: the first that answers is used."`
	tlsFlags
}

// clientFlags are the flags of commands with a connection to a coordinator.
type clientFlags struct {
	clusterFlags
	Timeout time.Duration `default:"10s" help:"How long to try to reach the coordinator."`
	outputFlag
	// onWait is called with what a command waits for; nil prints it.
	onWait func(why string)
}

// outputFlag chooses the output format.
type outputFlag struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"Output format: table or json."`
}
