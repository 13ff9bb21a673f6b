"""Launch training where something else starts the processes.

torchrun --nproc-per-node=8 scripts/train.py experiment=dcgan_mnist trainer=gpu trainer.devices=8
"""

import sys

from lightning_gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
