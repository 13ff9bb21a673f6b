#!/usr/bin/env bash
# One run on SLURM, requeued until it is finished: the job saves before its time is up, asks for
# another turn, and the same command continues the same run.
#
#   sbatch --nodes=2 --gpus-per-node=8 --ntasks-per-node=8 scripts/slurm.sh experiment=dcgan_mnist
#SBATCH --job-name=lightning-gen
#SBATCH --requeue
#SBATCH --signal=SIGUSR1@120
#SBATCH --open-mode=append
set -euo pipefail
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
srun lightning-gen train trainer=slurm "$@"
