#!/bin/bash
# sbatch recipes/launch/slurm.sh RECIPE [--flag value ...]: one torchrun a node, 8 processes each.
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --signal=TERM@300
#SBATCH --requeue
# Five minutes before its time ends, the job gets SIGTERM: the run leaves a checkpoint, and the job queued again goes on.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint "$head:29500" \
    --rdzv_id "$SLURM_JOB_ID" --shutdown-timeout 240 -m mustela train "$@"
