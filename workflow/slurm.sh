#!/usr/bin/env bash
# A SLURM of this one machine, on the loopback device, for trials: `workflow/slurm.sh start|stop`.
# As root, on Debian or Ubuntu, without systemd; `apt-get install slurm-wlm munge` comes first.
# There is no accounting database, so the profile asks squeue how jobs stand.
set -euo pipefail

home=${SLURM_TRIAL:-/tmp/slurm-trial}
conf=/etc/slurm/slurm.conf # where SLURM looks: the executor takes SLURM_CONF out of its jobs

stop() {
    for daemon in slurmctld slurmd munged; do
        if [ -f "$home/$daemon.pid" ]; then
            kill "$(cat "$home/$daemon.pid")" 2>/dev/null || true
        fi
    done
}

start() {
    for program in munged slurmctld slurmd sbatch; do
        command -v $program >/dev/null || { echo "error: no $program: apt-get install slurm-wlm munge" >&2; exit 1; }
    done
    if [ -e $conf ] && ! grep -q ClusterName=trial $conf; then
        echo "error: this machine has a SLURM of its own: $conf" >&2
        exit 1
    fi
    mkdir -p "$home/spool" "$home/state"
    # munged refuses a key and a socket in folders that others may write to.
    install -d -o munge -g munge -m 0755 /run/munge
    [ -s /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none; chown munge:munge /etc/munge/munge.key; chmod 400 /etc/munge/munge.key; }
    runuser -u munge -- munged --force
    cp /run/munge/munged.pid "$home/munged.pid"
    cores=$(nproc)
    memory=$(( $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 * 9 / 10 ))
    name=$(hostname -s)
    cat >$conf <<CONF
ClusterName=trial
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
SlurmctldPort=${SLURM_PORT:-6817}
SlurmdPort=$(( ${SLURM_PORT:-6817} + 1 ))
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
SlurmdSpoolDir=$home/spool
StateSaveLocation=$home/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=300
JobCompType=jobcomp/none
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=trial Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
    slurmctld
    slurmd
    for _ in $(seq 30); do
        if sinfo --noheader --format=%T | grep -q idle; then
            sinfo
            return
        fi
        sleep 1
    done
    tail "$home"/*.log >&2
    echo "error: the node does not come up" >&2
    exit 1
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
