"""Boltzmann machines small enough to know everything of them."""

import copy
import math
from functools import partial

import pytest
import torch

from lightning_gen.functional.ais import ais_log_partition, ais_temperatures
from lightning_gen.models.density.rbm import RBM
from lightning_gen.networks.boltzmann import BoltzmannMachine
from tests.models.test_density import N, digits, everything
from tests.models.test_gan import fit


def make(hidden=4, resolution=3, std=0.5, lr=0.1, **options):
    torch.manual_seed(0)
    machine = BoltzmannMachine(channels=1, resolution=resolution, hidden=hidden, init_std=std)
    machine.visible_bias.data.normal_()
    machine.hidden_bias.data.normal_()
    return RBM(machine=machine, optimizers={"model": partial(torch.optim.SGD, lr=lr)}, **options)


def gradient(before, after, lr):
    """What a step of plain descent has followed."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return [(a - b).detach() / lr for a, b in pairs]


def test_exact_probabilities_sum_to_one():
    model = make(hidden=10)
    assert model.log_prob(everything()).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_the_free_energy_sums_over_hidden_units():
    machine = make(hidden=3).machine
    v = (everything()[:50].flatten(1) + 1) / 2
    energies = []
    for state in range(8):
        h = torch.tensor([float(state >> j & 1) for j in range(3)])
        given = v @ machine.weight.T + machine.hidden_bias
        energies.append(-given @ h - v @ machine.visible_bias)
    torch.testing.assert_close(machine.free_energy(v), -(-torch.stack(energies)).logsumexp(0))


def test_many_hidden_units_are_not_enumerated():
    with pytest.raises(ValueError, match="at most 20"):
        make(hidden=21).log_prob(digits())


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_annealing_finds_log_z(std):
    machine = make(hidden=10, resolution=4, std=std).machine
    exact = machine.log_partition().item()
    given = machine.weight, machine.visible_bias, machine.hidden_bias, torch.zeros(16)
    found = ais_log_partition(
        *given, betas=ais_temperatures(600), runs=100, generator=torch.Generator().manual_seed(0)
    )
    assert abs(found.value - exact) < min(3 * found.standard_error, 0.5)
    assert found.standard_error < 0.15


def test_the_standard_error_is_the_spread_of_estimates():
    machine = make(hidden=10, resolution=4, std=1.0).machine
    given = machine.weight, machine.visible_bias, machine.hidden_bias, torch.zeros(16)
    found = [
        ais_log_partition(*given, betas=ais_temperatures(100), runs=50,
                          generator=torch.Generator().manual_seed(s)) for s in range(20)
    ]  # fmt: skip
    spread = torch.tensor([f.value for f in found]).std().item()
    claimed = torch.tensor([f.standard_error for f in found]).mean().item()
    assert 0.5 < spread / claimed < 2


def test_likelihoods_use_one_estimate_until_the_weights_change():
    model, x = make(temperatures=200), digits()
    a = model.log_likelihood(x, samples=50, generator=torch.Generator().manual_seed(3))
    estimate = model.log_partition(50, torch.Generator().manual_seed(3))
    assert model.log_partition(50, torch.Generator().manual_seed(3)) is estimate
    assert (a - model.log_prob(x)).abs().max() < 0.5
    assert model.log_partition(50, torch.Generator().manual_seed(4)) is not estimate
    before = model.log_partition(50, torch.Generator().manual_seed(3))
    model.machine.visible_bias.data.add_(1.0)
    assert model.log_partition(50, torch.Generator().manual_seed(3)).value > before.value


def test_many_sweeps_follow_the_gradient_of_the_exact_likelihood():
    x = digits(4).repeat(5_000, 1, 1, 1)
    hand = make(k=15)
    (-hand.log_prob(x).mean()).backward()
    model = fit(make(k=15), x)
    for found, parameter in zip(gradient(hand, model, 0.1), hand.parameters(), strict=True):
        # 20,000 chains: a mean of units in [0, 1] is within 5 / (2 sqrt(20,000)).
        torch.testing.assert_close(found, parameter.grad, atol=0.018, rtol=0)
    assert max(p.grad.abs().max() for p in hand.parameters()) > 0.2


def test_one_step_of_contrastive_divergence_by_hand():
    x, hand = digits(), make(k=1)
    hand.iteration = 1
    hand.seed_iteration()
    m, v = hand.machine, (x.flatten(1) + 1) / 2
    p_0 = (v @ m.weight.T + m.hidden_bias).sigmoid()
    h = (hand.rand(N, 4) < p_0).float()
    v_1 = (hand.rand(N, 9) < (h @ m.weight + m.visible_bias).sigmoid()).float()
    p_1 = (v_1 @ m.weight.T + m.hidden_bias).sigmoid()
    found = gradient(hand, fit(make(k=1), x), 0.1)
    expected = [-(p_0.T @ v - p_1.T @ v_1) / N, -(v - v_1).mean(0), -(p_0 - p_1).mean(0)]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b.detach(), atol=1e-5, rtol=1e-4)


def test_persistent_chains_go_on_and_are_kept():
    model = make(persistent=True, chains=6)
    start = model.chain.clone()
    fit(model, digits(), iterations=3)
    assert model.chain.shape == (6, 9) and not torch.equal(model.chain, start)
    assert set(model.chain.unique().tolist()) <= {0.0, 1.0}
    other = make(persistent=True, chains=6)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.chain, model.chain)


def test_contrastive_divergence_has_no_chains_to_keep():
    assert make().chain.numel() == 0


@pytest.mark.parametrize(("images", "k"), [(0, 1), (2 * N, 4), (4 * N, 7), (8 * N, 7)])
def test_k_grows_with_images(images, k):
    model = make(k=7, k_from=1, k_images=4 * N)
    fit(model, digits(), iterations=images // N + 1)
    assert model.recorded["k"].item() == k


@pytest.mark.parametrize("persistent", [True, False])
def test_training_raises_the_exact_likelihood(persistent):
    x = digits(64)
    model = make(std=0.3, lr=0.3, k=2, persistent=persistent, chains=64)
    model.machine.start_at(x.mean(0))
    start = model.log_prob(x).mean().item()
    fit(model, x, iterations=120)
    assert model.log_prob(x).mean().item() > start + 0.5


def test_micro_batches_give_the_same_step():
    whole, parts = (fit(make(accumulate=a), digits()) for a in (1, 4))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_machine_starts_at_the_rates_of_the_data():
    machine = make().machine
    mean = torch.linspace(-1, 1, 9).view(1, 3, 3)
    machine.start_at(mean)
    rates = ((mean + 1) / 2).clamp(1e-4, 1 - 1e-4).flatten()
    torch.testing.assert_close(machine.visible_bias.sigmoid(), rates)
    assert torch.equal(machine.base_rate, machine.visible_bias)


def test_samples_are_of_the_machine():
    model = make(hidden=3, draw=True, sweeps=30)
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    p = model.log_prob(everything()).exp()
    seen = ((drawn.flatten(1) > 0).long() * 2 ** torch.arange(8, -1, -1)).sum(1)
    share = seen.bincount(minlength=512) / len(drawn)
    assert (share - p).abs().max() < 5 * math.sqrt(p.max() / len(drawn))
    means = copy.copy(model)
    means.draw = False
    same = means.sample(20_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(same.mean(0), drawn.mean(0), atol=0.05, rtol=0)


def test_codes_and_reconstructions():
    model, x = make(), digits()
    code = model.encode(x)
    assert code.shape == (N, 4) and code.min() >= 0 and code.max() <= 1
    mean = (code @ model.machine.weight + model.machine.visible_bias).sigmoid().view_as(x) * 2 - 1
    torch.testing.assert_close(model.reconstruct(x), mean)
