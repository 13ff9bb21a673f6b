"""Tables of images that show what a model's latents mean, for a run's pictures and for the verb.

What a model can show follows from what it has:

============================================  ============================================
it has                                        then
============================================  ============================================
``path(a, b, t)``                             interpolation, walk
``traverse(z, steps, limit)``                 traversal
``mix(coarse_z, fine_z, crossover, *, psi)``  mixing, and truncation of every table
``requires_labels``                           classes
============================================  ============================================

All but classes also need ``latents(n, generator)`` and ``generate(z)``, or ``generate(z, labels)``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from lightning_gen.callbacks.sample_grid import class_grid, draw
from lightning_gen.randomness import fold

BLOCK = 64
EMPTY = 0.0  # of a place without an image: grey


class Table(NamedTuple):
    """N images, each with a place in a table.

    Args:
        images: In [-1, 1], (N, C, H, W), row by row.
        row: Rows (N,) from zero.
        column: Columns (N,) from zero.
        arrays: What the images were made of, by name, (N, ...): ``latents``, ``labels`` and ``t``,
            the share of its row's way that an image has behind it.
    """

    images: Tensor
    row: Tensor
    column: Tensor
    arrays: dict[str, Tensor]

    def picture(self) -> Image.Image:
        """Draw the table; places without an image stay empty."""
        rows, columns = int(self.row.max()) + 1, int(self.column.max()) + 1
        cells = self.images.new_full((rows * columns, *self.images.shape[1:]), EMPTY)
        cells[self.row * columns + self.column] = self.images
        return draw(cells, columns)


class Plan(NamedTuple):
    """What to show.

    Args:
        rows: Rows; latents of a walk, noise vectors of a traversal.
        columns: Images in a row; for a walk, from one latent to the next.
        seed: The latents are those of the seed's samples, in order.
        labels: Classes (K,) of a conditional model, a row each and in turn; a walk keeps to the
            first.
        psi: Truncation, for a model that has it; None leaves it alone.
        limit: Continuous codes run from -limit to limit.
        crossover: How many layers of a mix are coarse; None is half of them.
    """

    rows: int = 8
    columns: int = 10
    seed: int = 0
    labels: Tensor | None = None
    psi: float | None = None
    limit: float = 1.0
    crossover: int | None = None

    @property
    def truncation(self) -> dict[str, float]:
        """The keyword argument of a model that has truncation, if it is asked for."""
        return {} if self.psi is None else {"psi": self.psi}


@contextmanager
def aside(seed: int, device: torch.device) -> Iterator[None]:
    """Draw pictures without gradients, and leave torch's random state as it is.

    Args:
        seed: Of whatever draws from torch's generator inside.
        device: The model's.
    """
    devices = [device] if device.type in {"cuda"} else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(fold(seed, "latent pictures"))
        yield


def block_seed(seed: int, block: int) -> int:
    """Seed a block of a seed's samples, so that the first n are the same for every n.

    Args:
        seed: The seed.
        block: Which of the blocks of BLOCK samples.
    """
    return fold(seed, "sample", block)


def latents(model: Any, n: int, seed: int) -> Tensor:
    """Give the latents (n, d) of a seed's first n samples.

    Args:
        model: Has ``latents``.
        n: How many.
        seed: The seed.
    """
    generators = [torch.Generator().manual_seed(block_seed(seed, i)) for i in range(-(-n // BLOCK))]
    return torch.cat([model.latents(BLOCK, generator) for generator in generators])[:n]


def _rows(model: Any, plan: Plan, z: Tensor, t: Tensor) -> Table:
    """The table of latents (rows, columns, d) that are at t (columns,) on their ways."""
    rows, columns, _ = z.shape
    row, column = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).unbind(1)
    z = z.flatten(0, 1)
    arrays = {"latents": z.cpu(), "t": t.repeat(rows)}
    given = [z]
    if plan.labels is not None:
        arrays["labels"] = plan.labels[row % len(plan.labels)]
        given.append(arrays["labels"].to(z.device))
    blocks = zip(*(x.split(BLOCK) for x in given), strict=True)
    if plan.psi is None:
        made = [model.generate(*block).cpu() for block in blocks]
    else:  # the mix of a latent with itself is its truncated image
        layers = model.latent_layers
        made = [model.mix(z_i, z_i, layers, psi=plan.psi).cpu() for z_i, *_ in blocks]
    return Table(torch.cat(made), row, column, arrays)


def interpolation(model: Any, plan: Plan) -> Table:
    """Show the way from latent 2i to latent 2i + 1 in row i, with both its ends.

    Args:
        model: Has ``path``.
        plan: ``rows``, ``columns``, ``seed``, ``labels``, ``psi``.
    """
    a, b = latents(model, 2 * plan.rows, plan.seed).unflatten(0, (-1, 2)).unbind(1)
    t = torch.linspace(0, 1, plan.columns)
    return _rows(model, plan, model.path(a[:, None], b[:, None], t.to(a)), t)


def walk(model: Any, plan: Plan) -> Table:
    """Show a closed way through all latents: row i begins at latent i and ends before the next.

    Args:
        model: Has ``path``.
        plan: ``rows``, ``columns``, ``seed``, ``labels``, ``psi``.
    """
    a = latents(model, plan.rows, plan.seed)
    t = torch.arange(plan.columns) / plan.columns
    z = model.path(a[:, None], a.roll(-1, 0)[:, None], t.to(a))
    first = None if plan.labels is None else plan.labels[:1]
    return _rows(model, plan._replace(labels=first), z, t)


def traversal(model: Any, plan: Plan) -> Table:
    """Change one code along each row: for each code, as many rows as noise vectors.

    Args:
        model: Has ``traverse``.
        plan: ``rows``, ``columns``, ``seed``, ``labels``, ``psi``, ``limit``.
    """
    z = latents(model, plan.rows, plan.seed)
    tables = []
    for code, ways in enumerate(model.traverse(z, plan.columns, plan.limit).values()):
        table = _rows(model, plan, ways, torch.linspace(0, 1, ways.shape[1]))
        below = code * (plan.rows + 1)  # an empty row between two codes
        tables.append(table._replace(row=table.row + below))
    return Table(
        torch.cat([table.images for table in tables]),
        torch.cat([table.row for table in tables]),
        torch.cat([table.column for table in tables]),
        {key: torch.cat([table.arrays[key] for table in tables]) for key in tables[0].arrays},
    )


def mixing(model: Any, plan: Plan) -> Table:
    """Mix styles: the coarse of the image that begins the row, the fine of that above the column.

    The ``latents`` are pairs of coarse and fine, and ``t`` the share of layers that are fine.

    Args:
        model: Has ``mix`` and ``latent_layers``.
        plan: ``rows`` and ``columns`` (of mixes; their sources come on top), ``seed``, ``psi``,
            ``crossover``.
    """
    rows, columns, layers = plan.rows, plan.columns, model.latent_layers
    crossover = layers // 2 if plan.crossover is None else plan.crossover
    z = latents(model, rows + columns, plan.seed)
    places = torch.cartesian_prod(torch.arange(rows + 1), torch.arange(columns + 1))[1:]
    row, column = places.unbind(1)
    # A source is the mix of itself with itself: those of the columns come after those of the rows.
    coarse = z[torch.where(row > 0, row - 1, rows + column - 1)]
    fine = z[torch.where(column > 0, rows + column - 1, row - 1)]
    pairs = zip(coarse.split(BLOCK), fine.split(BLOCK), strict=True)
    made = [model.mix(*pair, crossover, **plan.truncation).cpu() for pair in pairs]
    t = torch.where(column > 0, torch.where(row > 0, 1 - crossover / layers, 1.0), 0.0)
    arrays = {"latents": torch.stack([coarse, fine], 1).cpu(), "t": t}
    return Table(torch.cat(made), row, column, arrays)


def classes(model: Any, plan: Plan) -> Table:
    """Show a class in each row, of the same latents from row to row.

    Args:
        model: Samples from labels.
        plan: ``rows``, ``columns``, ``seed``, ``labels``, ``psi``.
    """
    assert plan.labels is not None
    labels = plan.labels[torch.arange(plan.rows) % len(plan.labels)]
    seed = block_seed(plan.seed, 0)
    images = class_grid(model, labels, plan.columns, seed, **plan.truncation).cpu()
    places = torch.cartesian_prod(torch.arange(plan.rows), torch.arange(plan.columns))
    row, column = places.unbind(1)
    return Table(images, row, column, {"labels": labels[row]})


class Tool(NamedTuple):
    """A way to show latents.

    Args:
        table: Makes it.
        attribute: What a model must have for it, and not have false.
        lacks: What a model without it lacks, in words.
    """

    table: Callable[[Any, Plan], Table]
    attribute: str
    lacks: str

    def suits(self, model: Any) -> bool:
        """Whether a model has what the tool needs."""
        return bool(getattr(model, self.attribute, False))


TOOLS = {
    "interpolation": Tool(interpolation, "path", "no path between its latents"),
    "walk": Tool(walk, "path", "no path between its latents"),
    "traversal": Tool(traversal, "traverse", "no codes in its latents"),
    "mixing": Tool(mixing, "mix", "no styles to mix"),
    "classes": Tool(classes, "requires_labels", "no classes to ask for"),
}
