#!/usr/bin/env bash
# Starts a SLURM cluster of this machine alone in FOLDER, for tests, and runs a command in it.
#
# bash scripts/slurm.sh FOLDER COMMAND [WORD ...]     (as root; Debian's package slurm-wlm)
#
# PREEMPT=CANCEL in the environment: jobs that are preempted are cancelled, not queued again.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
for program in slurmctld slurmd srun scontrol; do
    command -v $program >/dev/null || { echo "no $program here: apt-get install slurm-wlm" >&2 && exit 3; }
done
mkdir -p "$1"/state "$1"/spool
folder=$(cd "$1" && pwd)
host=$(hostname -s)
port=$((20000 + RANDOM % 20000))
shift
cat >"$folder/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/none
AuthInfo=cred_expire=10
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ReturnToService=2
KillWait=5
OverTimeLimit=0
SchedulerParameters=batch_sched_delay=0,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=${PREEMPT:-REQUEUE}
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=2
END
export SLURM_CONF=$folder/slurm.conf
slurmctld -D -f "$SLURM_CONF" >"$folder/slurmctld.log" 2>&1 &
controller=$!
slurmd -D -f "$SLURM_CONF" >"$folder/slurmd.log" 2>&1 &
node=$!
trap 'scancel --user="$(id -un)" 2>/dev/null; sleep 1; kill $node $controller 2>/dev/null; wait' EXIT
for _ in $(seq 50); do
    [ "$(sinfo -h -o %T -p main 2>/dev/null)" = idle ] && break
    sleep 0.2
done
[ "$(sinfo -h -o %T -p main)" = idle ] || { tail -5 "$folder"/slurm*.log >&2 && exit 1; }
"$@"
