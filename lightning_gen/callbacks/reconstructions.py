"""Pictures of what comes back of codes, and of the codes: reconstructions, maps, arithmetic."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_gen.callbacks.translation_rows import alike, spread
from lightning_gen.errors import DataError
from lightning_gen.metrics.method_evaluator import given
from lightning_gen.randomness import fold

SEED = fold("reconstructions")
BLOCK = 64


def read(model: Any, data: Any, split: str, indices: Tensor) -> tuple[Tensor, Tensor | None]:
    """Codes (n, ...) of real images, and their labels (n, ...), if any, on the CPU.

    Args:
        model: A model with ``encode``.
        data: A data module that is set up.
        split: The split.
        indices: (n,), n > 0.
    """
    codes, labels = [], []
    for rows in indices.split(BLOCK):
        image, label = data.real(split, rows, model.device)
        codes.append(model.encode(image, **given(model.encode, label)).cpu())
        labels.append(label)
    some = [label.cpu() for label in labels if label is not None]
    return torch.cat(codes), torch.cat(some) if some else None


def reconstruction_rows(
    model: Any, data: Any, n: int, columns: int = 8, split: str | None = None
) -> tuple[Tensor, int]:
    """The same test images in all runs, a row at a time, over what becomes of them.

    Under each row of images are the same corrupted, where the model has a way of corrupting them,
    and then what the model makes of those.

    Args:
        model: A model with ``reconstruct``.
        data: A data module of images that is set up.
        n: Images, whole rows of them.
        columns: Images in a row.
        split: Split of the images; None is "test" where there is one, else the last.

    Returns:
        Images (rows * columns, C, H, W) in [-1, 1], row by row, and the number of columns.
    """
    split = split or ("test" if "test" in data.splits else data.splits[-1])
    indices = spread(-(-n // columns) * columns, data.size(split))
    groups = []
    for j, rows in enumerate(indices.split(columns)):
        x, label = data.real(split, rows, model.device)
        shown = [x]
        if hasattr(model, "corrupt"):
            generator = torch.Generator().manual_seed(fold(SEED, j))
            shown.append(model.corrupt(x, generator))
        shown.append(model.reconstruct(shown[-1], **given(model.reconstruct, label)))
        groups.append(alike(shown).flatten(0, 1))
    return torch.cat(groups), columns


def arithmetic_rows(
    model: Any, data: Any, n: int, a: str | None, b: str, steps: int = 5, split: str = "test"
) -> tuple[Tensor, int]:
    r"""Images of one class on their way to another, along the difference of the mean codes.

    .. math::
        \mathrm{decode}(\mathrm{encode}(x) + t (\bar z_b - \bar z_a)), \qquad t = 0, \dots, 1

    with means over the training images of each class.

    Args:
        model: A model with ``encode`` and ``decode``.
        data: A data module that is set up, with ``domains``.
        n: Rows, an image of class a each.
        a: Class or attribute that images have; None is all that are not b.
        b: Class or attribute that they are to have.
        steps: Steps from t = 0 to 1.
        split: Split of the images.

    Returns:
        Images (n * (1 + steps), C, H, W) in [-1, 1], row by row, the image itself first; and the
        number of columns.

    Raises:
        DataError: The data have no images of a class.
    """

    def members(part: str, name: str | None) -> tuple[str, Tensor]:
        where, rows = data.domain(part, b if name is None else name, inside=name is not None)
        if not len(rows):
            raise DataError(f"{data.name} has no {part} images of '{name or f'not {b}'}'")
        return where, rows

    means = [read(model, data, *members(data.splits[0], name))[0].mean(0) for name in (a, b)]
    where, rows = members(split, a)
    chosen = rows[spread(min(n, len(rows)), len(rows))]
    x, label = data.real(where, chosen, model.device)
    z, along = read(model, data, where, chosen)[0], means[1] - means[0]
    ways = [(z + t * along).to(model.device) for t in torch.linspace(0, 1, steps).tolist()]
    made = [model.decode(way, **given(model.decode, label)) for way in ways]
    return alike([x, *made]).transpose(0, 1).flatten(0, 1), 1 + steps


def flat_map(codes: Tensor, method: str) -> Tensor:
    """Codes in two dimensions.

    Args:
        codes: (N, ...), N > 2.
        method: "codes" takes the first two dimensions as they are; "pca" the two principal
            components; "tsne" t-SNE, whose distances between far points mean nothing.

    Returns:
        (N, 2).

    Example:
        >>> flat_map(torch.tensor([[3.0], [4.0]]), "codes")  # codes of one dimension lie on a line
        tensor([[3., 0.],
                [4., 0.]])
    """
    flat = codes.flatten(1).double()
    if flat.shape[1] < 2:
        return torch.nn.functional.pad(flat, (0, 1)).float()
    if method in {"codes"}:
        return flat[:, :2].float()
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(flat) - 1) / 3)
    tools = {
        "pca": lambda: PCA(2, svd_solver="covariance_eigh"),
        "tsne": lambda: TSNE(perplexity=perplexity, init="pca", random_state=0),
    }
    return torch.from_numpy(np.asarray(tools[method]().fit_transform(flat.numpy()))).float()


def latent_map(codes: Tensor, labels: Tensor | None, method: str = "pca") -> Image.Image:
    """Draw codes as points, coloured by label.

    Args:
        codes: (N, ...), N > 2.
        labels: Classes (N,); None, or attributes (N, A), for one colour.
        method: As of :func:`flat_map`.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(aspect="equal", adjustable="datalim")
    points = flat_map(codes, method)
    is_class = labels is not None and labels.ndim == 1
    kinds = labels if labels is not None and is_class else torch.zeros(len(points))
    names = kinds.unique().tolist()
    for i, name in enumerate(names):
        x, y = points[kinds == name].T
        colour = colormaps["tab10" if len(names) <= 10 else "turbo"]
        shade = colour(i if len(names) <= 10 else i / (len(names) - 1))
        axes.scatter(x, y, s=5, alpha=0.6, linewidths=0, color=shade, label=str(int(name)))
    if is_class and len(names) <= 20:
        figure.legend(loc="outside right upper", markerscale=3)
    axes.set(xlabel=f"{method} 1", ylabel=f"{method} 2")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
