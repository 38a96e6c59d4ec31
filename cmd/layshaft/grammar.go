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
		Backup  backupCmd      `cmd:"" help:"Copy all that a running coordinator remembers into a file."`
		Restore restoreCmd     `cmd:"" help:"Make a data directory from a backup."`
	} `cmd:"" help:"Run a coordinator; back it up, restore it."`
	Worker struct {
		Run   workerCmd      `cmd:"" default:"withargs" help:"Run a worker, until SIGTERM drains it. This is what \"layshaft worker\" does."`
		List  workerListCmd  `cmd:"" help:"List the workers of a cluster."`
		Drain workerDrainCmd `cmd:"" help:"Have a worker end what it runs, hand over what others need, and leave."`
	} `cmd:"" help:"Run a worker; list and drain workers."`
	Dev devCmd `cmd:"" help:"Run a whole cluster on this machine, until ^C."`
	Job struct {
		List   jobListCmd   `cmd:"" help:"List jobs, the newest first."`
		Show   jobShowCmd   `cmd:"" help:"Show how a job and its stages stand."`
		Cancel jobCancelCmd `cmd:"" help:"End a job."`
		Wait   jobWaitCmd   `cmd:"" help:"Wait for the end of a job and exit with 0, 3 or 4."`
		Report jobReportCmd `cmd:"" help:"Show what each stage of a job read and wrote, and where."`
	} `cmd:"" help:"List, show, cancel, await jobs."`
	Task   taskCmd   `cmd:"" help:"Call functions, queue tasks, look after them, run a worker for any program."`
	Status statusCmd `cmd:"" help:"Show workers and jobs of a cluster on one screen."`
	Cert   struct {
		Init  certInitCmd  `cmd:"" help:"Make a certificate authority for a cluster."`
		Issue certIssueCmd `cmd:"" help:"Make a certificate and its key."`
	} `cmd:"" help:"Make certificates."`
	Version versionCmd `cmd:"" help:"Print what this program was built from."`
}

// tlsFlags are the certificates of a process.
type tlsFlags struct {
	TLSCA   string `name:"tls-ca" group:"Certificates" placeholder:"FILE" help:"Certificate of the cluster's CA, as PEM."`
	TLSCert string `name:"tls-cert" group:"Certificates" placeholder:"FILE" help:"Certificate of this process, as PEM. It is read again when it changes."`
	TLSKey  string `name:"tls-key" group:"Certificates" placeholder:"FILE" help:"Its private key, as PEM."`
}

// gossipFlags are the flags of processes with gossip.
type gossipFlags struct {
	GossipKey     string `group:"Gossip" placeholder:"KEY" help:"Key of the cluster's gossip: 32 bytes in hex or base64, as \"openssl rand -hex 32\" prints. Rather use LAYSHAFT_GOSSIP_KEY or -gossip-key-file."`
	GossipKeyFile string `group:"Gossip" placeholder:"FILE" help:"File with that key."`
	Label         string `group:"Gossip" default:"layshaft" placeholder:"NAME" help:"Name that keeps apart clusters that can reach each other."`
}

// memberFlags are the flags of coordinators and workers.
type memberFlags struct {
	tlsFlags
	Advertise string `placeholder:"HOST" help:"Host name or address at which others reach this machine. Default: that of -listen, or the one that routes to -join."`
	gossipFlags
	GossipAllow []netip.Prefix `group:"Gossip" sep:"," placeholder:"CIDR" help:"Networks from which members may come, such as 10.1.0.0/16. Default: all."`
	Insecure    bool           `group:"Certificates" help:"Let others than this machine in without certificates and gossip key. Whoever reaches the ports can then run code."`

	NoSync  bool          `group:"Disk" help:"Leave it to the system when to write. What was acknowledged then survives the end of the process, not that of the machine."`
	Reserve bytesize.Size `group:"Disk" default:"256MiB" placeholder:"BYTES" help:"Space on the disk that stays free: below it nothing new is taken in. 0 means none."`

	LogLevel  string `group:"Log" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged, to standard error: debug, info, warn or error. A coordinator's audit log, of who did what and who was refused, is always written."`
	LogFormat string `group:"Log" enum:"text,json" default:"text" help:"Form of the log: text or json."`
	UntilEOF  bool   `name:"until-eof" hidden:"" help:"End at once when standard input ends."`
}

// coordinatorCmd runs a coordinator.
type coordinatorCmd struct {
	Data   string   `required:"" placeholder:"DIR" help:"Directory for all that the coordinator remembers. It is made when missing."`
	Listen string   `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Address for clients and workers (gRPC)."`
	HTTP   string   `name:"http" default:"127.0.0.1:7071" placeholder:"HOST:PORT" help:"Address of / (status as JSON), /metrics, /healthz and /readyz; none turns it off."`
	Gossip string   `default:"127.0.0.1:7946" placeholder:"HOST:PORT" help:"Address for gossip, by which members find each other."`
	Join   []string `sep:"," placeholder:"HOST:PORT" help:"Gossip addresses of other members. Workers that join are enough."`
	memberFlags

	AcceptLoss bool `group:"Disk" help:"Drop what is damaged in the journal or among the tasks, and all after it, instead of refusing to start."`

	Lease          time.Duration `group:"Scheduling" default:"10s" help:"How long a silent worker keeps its attempts."`
	LocalityWait   time.Duration `group:"Scheduling" default:"1s" help:"How long a split waits for a worker that holds it; 0s does not wait."`
	MaxAttempts    int           `group:"Scheduling" default:"4" help:"Failed attempts of one task that fail its job, unless the job says."`
	StragglerRatio float64       `group:"Scheduling" default:"1.5" help:"How many times longer than its stage's median an attempt runs before a second one races it; 0 means never."`
	BlockFor       time.Duration `group:"Scheduling" default:"1m" help:"How long a worker that fails again and again gets no attempts; 0s means that it gets them."`
	Retain         time.Duration `group:"Scheduling" default:"168h" help:"How long a job is kept after its end; 0s means until it is dropped."`
	ClientLease    time.Duration `group:"Scheduling" default:"1m" help:"How long the client of a job that is not detached may be away before the job is cancelled; 0s means for ever."`
	KeepCode       time.Duration `group:"Scheduling" default:"24h" help:"How long a program that no job needs is kept; 0s means that it goes soon."`
	MaxCode        bytesize.Size `group:"Scheduling" default:"2GiB" placeholder:"BYTES" help:"Size of the largest program that clients may send."`

	gearmanFlags
	TaskMemory bytesize.Size `group:"Tasks" placeholder:"BYTES" help:"Inputs and results of tasks that are kept in memory only, before more of them go to disk. Default: an eighth of the machine."`
}

// gearmanFlags are the flags of the Gearman protocol.
type gearmanFlags struct {
	Gearman            string        `group:"Tasks" default:"none" placeholder:"HOST:PORT" help:"Address for Gearman's clients and workers, such as 127.0.0.1:4730; none turns it off."`
	GearmanHTTP        string        `name:"gearman-http" group:"Tasks" default:"none" placeholder:"HOST:PORT" help:"Address for jobs over HTTP, POST /FUNCTION, as gearmand has it; none turns it off."`
	GearmanDurability  string        `group:"Tasks" enum:"sync,none" default:"sync" help:"When a background job is acknowledged: sync means once it is on disk, none keeps it in memory only."`
	GearmanRetryFailed bool          `group:"Tasks" help:"Try a job again that a Gearman worker reports as failed. Default: it is over, as with gearmand."`
	GearmanKeep        time.Duration `group:"Tasks" default:"0s" help:"How long outcome and result of a background job are kept for \"layshaft task wait\" and \"status\", by -function and -unique. 0s forgets them at once, as gearmand does."`
}

// workerCmd runs a worker.
type workerCmd struct {
	Data   string   `required:"" placeholder:"DIR" help:"Directory for outputs and scratch files, for this worker alone. It is made when missing."`
	Join   []string `required:"" sep:"," placeholder:"HOST:PORT" help:"Gossip addresses of the coordinator or of other members; any one is enough."`
	Listen string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address for peers and clients (gRPC); port 0 is any free one."`
	HTTP   string   `name:"http" default:"none" placeholder:"HOST:PORT" help:"Address of / (status as JSON), /metrics, /healthz and /readyz; none turns it off."`
	Gossip string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address for gossip; port 0 is any free one."`
	memberFlags

	workFlags
	Zone  string        `placeholder:"NAME" help:"Where the worker stands. Data crosses zones only when it must."`
	Tags  []string      `sep:"," placeholder:"TAG" help:"What the worker offers beside slots, such as gpu; jobs ask for it."`
	Quota bytesize.Size `group:"Disk" default:"0" placeholder:"BYTES" help:"Space that outputs may take; 0 means what the disk has."`
	Drain time.Duration `default:"5m" help:"How long a worker that was told to end finishes attempts and hands over outputs; 0s means not at all. A second signal ends it at once."`
	Grace time.Duration `default:"10s" help:"How long user code may ignore that its attempt was cancelled before it is killed; 0s means at once."`
}

// workFlags describe the resources of a worker.
type workFlags struct {
	Slots    int               `placeholder:"NUMBER" help:"Attempts at the same time. Default: one per processor."`
	Reserved int               `placeholder:"NUMBER" help:"How many of the slots only interactive jobs may use."`
	Memory   bytesize.Size     `placeholder:"BYTES" help:"What attempts of all slots may hold before they spill. Default: 60 % of the machine."`
	Dataset  map[string]string `placeholder:"NAME=DIR" help:"Offer the files of DIR as dataset://NAME/. May be repeated."`
	Function map[string]string `mapsep:"none" placeholder:"NAME=COMMAND" help:"Run COMMAND, by sh -c, for each task of the function NAME, in the slots of this worker: see \"layshaft task work -h\". Tasks of high priority go before jobs of a priority below 10 and may use reserved slots, normal ones are like a job of priority 0, low ones of -10. May be repeated."`
	Code     []string          `sep:"," placeholder:"FILE" help:"Program whose jobs the worker may run. May be repeated."`

	AllowShippedCode bool `help:"Run programs that clients send, too. Whoever may submit jobs can then run any code as this user."`
}

// clusterFlags name the coordinator.
type clusterFlags struct {
	Cluster string `default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Address of the coordinator."`
	tlsFlags
}

// clientFlags are the flags of commands with a connection to a coordinator.
type clientFlags struct {
	clusterFlags
	Timeout time.Duration `default:"10s" help:"How long to try to reach the coordinator."`
	outputFlag
}

// outputFlag chooses the output format.
type outputFlag struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of what is printed: table or json."`
}
