#!/usr/bin/env bash
# A Slurm of one machine, as two nodes, to try things on, as root, in a folder of its own (/etc/slurm stays as it is):
#   apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
#   tests/faults/slurm_node.sh start FOLDER   # then: export SLURM_CONF=FOLDER/slurm.conf
#   tests/faults/slurm_node.sh stop FOLDER
# Waits are short: a job that is requeued starts again after seconds instead of two minutes.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 start|stop FOLDER" >&2; exit 2; }
mkdir -p "$2"
FOLDER=$(cd "$2" && pwd)
HOST=$(hostname -s) PORT=${PORT:-16817}
export SLURM_CONF=$FOLDER/slurm.conf

configure() {
    mkdir -p "$FOLDER/state" "$FOLDER/spool/$HOST" "$FOLDER/spool/localhost" "$FOLDER/munge"
    chown munge: "$FOLDER/munge"
    cat > "$SLURM_CONF" <<END
ClusterName=trial
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmctldPort=$PORT
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool/%n
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.%n.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=30
MinJobAge=300
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
NodeName=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 1)) CPUs=8 CoresPerSocket=8 State=UNKNOWN
# A second name of this machine makes a second node of it.
NodeName=localhost NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 2)) CPUs=8 CoresPerSocket=8 State=UNKNOWN
PartitionName=cpu Nodes=$HOST,localhost Default=YES PriorityTier=1 GraceTime=60 MaxTime=60 DefaultTime=10 State=UP
# Jobs of this partition push those of the other aside.
PartitionName=urgent Nodes=$HOST,localhost PriorityTier=10 MaxTime=60 DefaultTime=10 State=UP
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
END
}

case $1 in
    start)
        [ -f "$SLURM_CONF" ] || configure
        [ -f /etc/munge/munge.key ] || /usr/sbin/mungekey --create
        # munged wants to own what it writes.
        setpriv --reuid munge --regid munge --init-groups munged --socket "$FOLDER/munge/socket" \
            --pid-file "$FOLDER/munge/pid" --log-file "$FOLDER/munge/log" \
            --seed-file "$FOLDER/munge/seed" --force
        slurmctld
        slurmd -N "$HOST"
        slurmd -N localhost
        for _ in $(seq 30); do
            [ "$(sinfo --noheader --format=%T:%D)" != idle:2 ] || exec sinfo
            sleep 1
        done
        echo "error: the node does not come up: see $FOLDER/slurmctld.log, slurmd.*.log" >&2
        exit 1 ;;
    stop)
        for file in slurmd.localhost.pid "slurmd.$HOST.pid" slurmctld.pid munge/pid; do
            [ ! -f "$FOLDER/$file" ] || kill "$(cat "$FOLDER/$file")" || true
        done ;;
    *) echo "usage: $0 start|stop FOLDER" >&2; exit 2 ;;
esac
