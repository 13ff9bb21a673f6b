"""Singular values of a network's layers."""

import torch
from torch import Tensor, nn

EXACT = 512  # side of the largest Gram matrix that is decomposed


def spectral_norm(weight: Tensor, *, steps: int = 50) -> Tensor:
    r"""Largest singular value of a weight, reshaped to a row for each output.

    .. math:: \sigma(W) = \max_{\|v\| = 1} \| W v \|

    Exact where a side of the matrix has at most 512 entries; otherwise by power iteration from a
    fixed start, which comes from below.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018,
        arXiv:1802.05957, section 2.1 and appendix A.

    Args:
        weight: Weight (outputs, ...) of a layer.
        steps: Most steps of the power iteration.

    Returns:
        The norm, a float64 scalar.

    Example:
        >>> spectral_norm(torch.diag(torch.tensor([1.0, -3.0]))[:, :, None, None])
        tensor(3., dtype=torch.float64)
    """
    W = weight.detach().flatten(1)
    W = W if len(W) <= W.shape[1] else W.T
    if len(W) <= EXACT:
        gram = W.double() @ W.double().T
        return torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt()
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(W.shape[1], generator=generator, dtype=torch.float64).to(W)
    for _ in range(steps):
        v = torch.nn.functional.normalize(W.T @ (W @ v), dim=0)
    return torch.linalg.vector_norm(W @ v).double()


def layer_norms(network: nn.Module) -> dict[str, Tensor]:
    """Spectral norms of a network's layers by name, of the weights as they are used.

    A spectrally normalised layer has its normalised weight, and one of equalised learning rate its
    weight times its ``scale``.

    Args:
        network: A network; layers are its modules with a ``weight`` of two dimensions or more.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> _ = nn.init.constant_(net[0].weight, 1.0)
        >>> layer_norms(net)
        {'0': tensor(2., dtype=torch.float64)}
    """
    found = {}
    for name, layer in network.named_modules():
        weight, scale = getattr(layer, "weight", None), getattr(layer, "scale", 1.0)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            factor = scale if isinstance(scale, float) else 1.0
            found[name] = abs(factor) * spectral_norm(weight)
    return found
