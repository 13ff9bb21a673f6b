"""Distributed data parallelism for models whose players alternate."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from lightning_gen.errors import RankError
from lightning_gen.runs.lost import Peer, Watch, meet


def mean_over_ranks(tensors: list[Tensor]) -> list[Tensor]:
    """Average tensors over all ranks, in one message a dtype.

    Args:
        tensors: The same shapes in the same order on every rank.

    Returns:
        New tensors; the given ones may be part of a graph that is still needed.
    """
    means: dict[int, Tensor] = {}
    for dtype in {t.dtype for t in tensors}:
        places = [i for i, t in enumerate(tensors) if t.dtype == dtype]
        flat = torch.cat([tensors[i].flatten() for i in places])
        dist.all_reduce(flat)
        flat.div_(dist.get_world_size())
        chunks = flat.split([tensors[i].numel() for i in places])
        means |= {i: c.view_as(tensors[i]) for i, c in zip(places, chunks, strict=True)}
    return [means[i] for i in range(len(tensors))]


def own_batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """List the layers whose running statistics this rank updates from its own rows."""
    layers = (m for m in module.modules() if isinstance(m, _BatchNorm) and m.training)
    return [m for m in layers if not isinstance(m, nn.SyncBatchNorm) and m.track_running_stats]


class Launcher(_SubprocessScriptLauncher):
    """Start the other ranks; each notices the loss of another by itself.

    Lightning's own kills rank 0 within 5 s of the end of any rank, also while it saves the state.
    """

    def launch(
        self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kw: Any
    ) -> Any:
        """Start the ranks, and call the function in this one."""
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            Watch(self.procs).start()
        return function(*args, **kw)


class PlayerDDPStrategy(DDPStrategy):
    """Average the gradients of the optimiser that steps, just before it steps.

    Wrapping the whole module, as DistributedDataParallel does, fails or sends everything twice when
    one player of a GAN stands still. Here nothing is wrapped: each player's gradients are averaged
    over the ranks in one message, with the running statistics of batch norm, so every rank holds
    bitwise the same weights and buffers after each step. Penalties that differentiate twice work as
    they do on one device. Gradient accumulation costs no extra message.

    Args:
        agreed: What all ranks must agree on before the first step.
        wait: Seconds that a rank waits for the others before it gives the run up.

    Attributes:
        peers: All ranks, once they have met.
    """

    def __init__(self, agreed: str = "", wait: float = 300.0) -> None:
        super().__init__(timeout=timedelta(seconds=wait))
        self.agreed, self.wait = agreed, wait
        self.peers: list[Peer] = []

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def setup_distributed(self) -> None:
        """Meet the other ranks at the address that the environment gives."""
        place = cast(Any, self.cluster_environment)
        try:
            super().setup_distributed()
        except RuntimeError as error:
            raise RankError(
                f"rank {place.global_rank()} of {place.world_size()} cannot meet the others at "
                f"{place.main_address}:{place.main_port}",
                where=" ".join(str(error).split())[:200],
                fix="MASTER_ADDR is rank 0's machine and MASTER_PORT a free port there; "
                "trainer.rank_timeout=SECONDS to wait longer",
            ) from error

    def configure_ddp(self) -> None:
        """Start every rank from rank 0's weights; leave the module unwrapped."""
        self.peers = meet(self.agreed)
        module = cast(nn.Module, self.model)
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.detach(), 0)

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Average over the ranks, then step."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moving = [p for p in parameters if p.grad is not None]
        layers = own_batch_norms(cast(nn.Module, self.model))
        means = [cast(Tensor, m.running_mean) for m in layers]
        variances = [cast(Tensor, m.running_var) for m in layers]
        averages = iter(
            mean_over_ranks([*(cast(Tensor, p.grad) for p in moving), *means, *variances])
        )
        for parameter in moving:
            parameter.grad = next(averages)
        for layer in layers:
            layer.running_mean = next(averages)
        for layer in layers:
            layer.running_var = next(averages)
        return super().optimizer_step(optimizer, closure, model, **kwargs)
