"""In place of `lightning-gen train`: a process with an ordinary run, that says what it is told to.

The learning rate scripts it: the score is its distance from 3e-4, above 1 it diverges, and the
files `kill-N`, `hold` beside the runs make it die or wait.
"""

import os
import signal
import sys
import time
from pathlib import Path

from lightning_gen.config.compose import check_overrides
from lightning_gen.errors import DivergedError, LightningGenError
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.runs.preemption import StopRequest
from lightning_gen.runs.run import Run


def main(overrides):
    config = check_overrides(overrides)
    run = Run.open(config, command=sys.argv)
    root = Path(config["paths"]["runs"])
    lr = config["model"]["optimizers"]["G"]["lr"]
    try:
        with StopRequest() as stop:
            run.set_status("running")
            (root / f"started-{lr}").open("a").write("x")
            (root / f"gpu-{lr}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
            kills = root / f"kill-{lr}"
            if kills.exists() and (left := int(kills.read_text())):
                kills.write_text(str(left - 1))
                os.kill(os.getpid(), signal.SIGKILL)
            while (root / "hold").exists():
                time.sleep(0.02)
                if stop.signum is not None:
                    run.set_status("preempted")
                    return 130 if stop.is_interrupt(stop.signum) else 75
        if lr > 1:
            run.set_status("diverged", reason="loss_D is not finite")
            raise DivergedError("loss_D is not finite")
        how = Protocol("ring", "", "", 0, config["callbacks"]["scores"]["final_n_fake"], "",
                       "raw", 0, "ab")  # fmt: skip
        run.record_scores([Score("reverse_kl", abs(lr - 3e-4), how).to_json()], 1, 1)
        run.set_status("collapsed" if lr == 0.5 else "finished", reason=None)
        return 0
    finally:
        run.close()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LightningGenError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
