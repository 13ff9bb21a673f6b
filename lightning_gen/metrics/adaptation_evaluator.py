"""Whether translated labelled images teach a classifier about the domain they are translated to.

References:
    Hoffman et al., *CyCADA: Cycle-Consistent Adversarial Domain Adaptation*, 2017
    (arXiv:1711.03213), table 2: source only, and adapted in pixels.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lightning_gen.errors import MetricError
from lightning_gen.metrics.domains import Domains, Translated
from lightning_gen.metrics.evaluator import Measure, measure, refusing
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.feature_pass import Gather, Team, Weights, sampling
from lightning_gen.metrics.protocol import Evaluation, Protocol
from lightning_gen.networks.lenet import LeNet
from lightning_gen.randomness import fold
from lightning_gen.types import PositiveFloat, PositiveInt

CI = "standard error over test images"


class AdaptationEvaluator:
    """Accuracy on test images of one domain of classifiers that were taught by others.

    All three are the LeNet of CyCADA, trained alike: ``source_only_accuracy`` on the labelled
    images of the other domain, ``adapted_accuracy`` on the same images translated to this one, and
    ``target_accuracy`` on this domain's own labels, which the translator was never told.

    Args:
        to: The domain that is tested.
        n_train: Training images of each classifier, the first; None takes all.
        steps: Of Adam, with batches of ``batch_size``.
        batch_size: Images of a step.
        lr: Learning rate.
        seed: Seed of the classifiers' weights and of the order of images.
    """

    needs: ClassVar[str] = "translate"

    def __init__(
        self,
        to: Literal["a", "b"] = "b",
        n_train: PositiveInt | None = None,
        steps: PositiveInt = 2000,
        batch_size: PositiveInt = 128,
        lr: PositiveFloat = 1e-3,
        seed: int = 0,
    ) -> None:
        self.to, self.n_train, self.seed = to, n_train, seed
        self.steps, self.batch_size, self.lr = steps, batch_size, lr

    def evaluate(
        self,
        model: Any,
        data: Any,
        *,
        n_fake: int | None = None,
        split: str | None = None,
        weights: Weights = "raw",
        gather: Gather | None = None,
        rank: int = 0,
        world: int = 1,
        progress: bool = False,
    ) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: A model with ``translate``.
            data: A data module of two labelled domains, set up.
            n_fake: Means nothing here: all training images are translated.
            split: Split that is tested, ``test`` by default.
            weights: Mean nothing here, as translators keep no average.
            gather: Concatenates a tensor over ranks; None for one process.
            rank: This process.
            world: Number of processes.
            progress: Show bars, on rank 0.
        """
        team, shown = Team(gather, rank, world), progress and rank == 0
        domains, part = Domains(data), split or "test"
        source = Translated(model, domains, "train", self.to)
        n = min(self.n_train or len(source), len(source))
        protocol = Protocol(
            extractor="lenet",
            extractor_sha256="",
            resize="",
            n_real=domains.size(f"{part}_{self.to}"),
            n_fake=n,
            split=f"{part}_{self.to}",
            weights="raw",
            seed=self.seed,
            data_fingerprint=data.fingerprint,
            options={
                **{"steps": self.steps, "batch_size": self.batch_size, "lr": self.lr},
                **{"optimizer": "adam", "ci": CI},
            },
        )
        compute: Measure
        try:
            with sampling(source, "raw"):
                found = self.accuracies(source, n, f"{part}_{self.to}", team, shown)
        except MetricError as error:
            compute = refusing(error)
        else:
            compute = found.copy
        return measure({"adaptation": (protocol, compute)})

    def accuracies(
        self, source: Translated, n: int, test: str, team: Team, shown: bool
    ) -> Measured:
        """Train the three classifiers and test them.

        Raises:
            MetricError: A domain has no labels.
        """
        data, device = source.data, source.device
        x_test, y_test = data.real(test, device=device)
        (own, own_labels) = data.real(f"train_{self.to}", device=device)
        if y_test is None or own_labels is None or source.source(0).label is None:
            raise MetricError("both domains need labels", where=data.name)

        def make(j: int) -> tuple[Tensor, ...]:
            x, label = source.source(j)
            assert label is not None
            return x, source.block(j), label

        x, translated, labels = team.collect(n, make, "translated images" if shown else None)
        taught = {
            "source_only_accuracy": (x, labels),
            "adapted_accuracy": (translated, labels),
            "target_accuracy": (own[: self.n_train], own_labels[: self.n_train]),
        }
        found: Measured = {}
        for name, (images, classes) in taught.items():
            if images.shape[1:] != x_test.shape[1:]:
                continue  # colours cannot teach a classifier of grey images
            right = self.taught(images, classes, data.num_classes, shown and name)(x_test) == y_test
            share = float(team.first(right.double()).mean())
            error = (share * (1 - share) / len(right)) ** 0.5
            found |= {name: share, f"{name}_ci": error}
        return found

    def taught(self, images: Tensor, labels: Tensor, classes: int, bar: str | bool) -> Any:
        """Train a classifier.

        Args:
            images: (N, C, H, W) in [-1, 1].
            labels: (N,).
            classes: Number of classes.
            bar: Title of a bar; False for none.

        Returns:
            A function from images to their classes (N,).
        """
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(fold(self.seed, "adaptation"))
            channels, side = images.shape[1], images.shape[2]
            network = LeNet(channels=channels, resolution=side, num_classes=classes)
            network.to(images.device)
            optimizer = torch.optim.Adam(network.parameters(), self.lr)
            for _ in tqdm(range(self.steps), str(bar), leave=False, disable=not bar):
                rows = torch.randint(len(images), (self.batch_size,))
                loss = cross_entropy(network(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()

        def predict(x: Tensor) -> Tensor:
            return torch.cat([network(part).argmax(1) for part in x.split(1024)])

        return predict
