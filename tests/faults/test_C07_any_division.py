"""C7: a score does not depend on how the samples are divided among processes or batches."""

import json
import threading

import pytest
import torch
import torch.distributed as dist

from lightning_gen.metrics.feature_pass import Team
from lightning_gen.metrics.fid import FrechetDistance
from tests.metrics.stubs import Data, Model, Threads, evaluator, shifted


@pytest.mark.parametrize(("world", "n"), [(2, 300), (3, 300), (4, 100)])
def test_C07_any_number_of_ranks_makes_the_same_rows(world, n):
    threads, got = Threads(world), {}

    def run(rank):
        team = Team(threads.gather_of(rank), rank, world)
        got[rank] = team.collect(n, lambda j: (torch.arange(64) + 64 * j, torch.ones(64, 2)))

    workers = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(got) == list(range(world))
    for rows, ones in got.values():
        assert torch.equal(rows, torch.arange(n))
        assert ones.shape == (n, 2)


def rank_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)

    def gather(tensor):
        parts = [torch.empty_like(tensor) for _ in range(2)]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    made = []

    def good(x, labels):
        made.append(x)
        return shifted(x, labels)

    def bad(x, _):
        return x / (x != x[5, 0, 0, 0]) if rank == 1 else x  # row 5 of each block of rank 1

    cache = f"{folder}/cache{rank}"  # as on nodes without a common disk
    if rank == 0:
        evaluator(cache).evaluate(Model(), Data())  # rank 0 has real features on disk, rank 1 not
    team, rows = {"gather": gather, "rank": rank, "world": 2}, []
    for change in (good, bad):
        scores = evaluator(cache).evaluate(Model(change), Data(), **team).scores
        rows.append([score.to_json() for score in scores])
    torch.save({"rows": json.dumps(rows), "made": torch.cat(made)}, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_C07_two_processes_score_as_one(tmp_path):
    torch.multiprocessing.spawn(rank_of_two, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in (0, 1)]
    (good_0, bad_0), (good_1, bad_1) = (json.loads(rank["rows"]) for rank in ranks)
    both = torch.cat([rank["made"] for rank in ranks]).flatten(1)
    assert len(both.unique(dim=0)) == 320  # 5 blocks, and one that a rank without work repeats
    one = evaluator(tmp_path / "one").evaluate(Model(shifted), Data())
    for score, a, b in zip(one.scores, good_0, good_1, strict=True):
        assert score.to_json() | {"value": 0, "ci": 0} == a | {"value": 0, "ci": 0}
        assert a["value"] == pytest.approx(score.value, rel=1e-6)
        assert b["value"] == pytest.approx(score.value, rel=1e-6)
    assert {row["note"] for row in (*bad_0, *bad_1)} == {
        "2 of 300 generated images are not finite; first index 69"  # 64 + 5 and 3 * 64 + 5
    }


@pytest.mark.parametrize("size", [1, 7, 64])
def test_C07_features_in_batches_of_any_size_give_the_same_distance(size):
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(300, 16, generator=generator) for _ in range(2))
    whole, parts = FrechetDistance(16), FrechetDistance(16)
    for metric, step in ((whole, 300), (parts, size)):
        for batch in real.split(step):
            metric.update(batch, real=True)
        for batch in fake.split(step):
            metric.update(batch, real=False)
    assert float(parts.compute()) == pytest.approx(float(whole.compute()), rel=1e-9)
