"""The first steps of a pretraining once more, to the bit: `python -m model.pretrain.repeat SETTINGS` prints a digest.

Sums come out alike only if the same instructions make them in the same order. So this runs in a process of its own, in
float32 and two threads, with instructions that every x86-64 processor of the last ten years has.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict

import torch

from model.pretrain.training import Pretraining, PretrainSettings

REPEATED_STEPS = 20
SAME_SUMS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}


def first_steps(settings: PretrainSettings) -> str:
    """sha256 of the trunk after the first `REPEATED_STEPS` steps, or all of them if there are fewer."""
    command = [sys.executable, "-m", "model.pretrain.repeat", json.dumps(asdict(settings))]
    done = subprocess.run(command, env=os.environ | SAME_SUMS, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main(settings: str) -> None:
    """Takes the steps and prints the digest. Args: settings: JSON."""
    torch.set_num_threads(2)
    training = Pretraining(PretrainSettings(**json.loads(settings)), device="cpu", half=False)
    for _ in range(min(REPEATED_STEPS, training.settings.steps)):
        training.step()
    sys.stdout.write(training.digest() + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
