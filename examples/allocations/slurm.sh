#!/usr/bin/env bash
# Layshaft workers inside a Slurm allocation, which leave it in good time:
#
#	LAYSHAFT_JOIN=coordinator:7946 sbatch --ntasks=8 --time=08:00:00 slurm.sh
#	LAYSHAFT_JOIN=coordinator:7946 sbatch slurm.sh ./wordcount 'dataset://logs/**'
#
# Each Slurm task is a worker with --cpus-per-task slots. It takes its memory from the cgroup of the
# task. All flags of "layshaft worker" may be set by variables, such as LAYSHAFT_TLS_CERT; sbatch
# passes them on. With a command, the allocation ends with the command; LAYSHAFT_CLUSTER gives it the
# coordinator. Without one, the workers stay until Slurm sends USR1, some time before the end:
#
#	scancel --batch --signal=USR1 JOBID	# drain now; a plain scancel leaves 30 seconds (KillWait)
#
#SBATCH --job-name=layshaft
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=2
#SBATCH --time=08:00:00
#SBATCH --open-mode=append
# To the script alone (B), six minutes before the end: -drain takes five at the most.
#SBATCH --signal=B:USR1@360
set -euo pipefail
: "${LAYSHAFT_JOIN:?is not set; give it the gossip address of a coordinator, HOST:7946}"
export LAYSHAFT_SLOTS=${LAYSHAFT_SLOTS:-${SLURM_CPUS_PER_TASK:-1}}
# Outputs lie on a disk of the machine. They are gone with the allocation.
export SCRATCH_OF_JOB=${LAYSHAFT_SCRATCH:-${TMPDIR:-/tmp}}/layshaft-$SLURM_JOB_ID
unset LAYSHAFT_SCRATCH

# exec makes the worker itself the task: Slurm sends signals to tasks, not always to their children.
srun --kill-on-bad-exit=0 bash -c 'exec "${LAYSHAFT:-layshaft}" worker -data "$SCRATCH_OF_JOB-$SLURM_PROCID"' &
workers=$!
# SIGTERM drains a worker. It goes to step 0, the first srun: srun itself would kill its tasks.
leave() { scancel --signal=TERM "$SLURM_JOB_ID.0" || true; }
trap leave USR1 TERM

code=0
if [ $# -gt 0 ]; then
	"$@" &
	command=$!
	while kill -0 "$command" 2>/dev/null; do wait "$command" && code=0 || code=$?; done # a signal ends wait
	leave
fi
while kill -0 "$workers" 2>/dev/null; do wait "$workers" || true; done
srun bash -c 'rm -rf "$SCRATCH_OF_JOB-$SLURM_PROCID"'
exit "$code"
