import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp

from lightning_gen.functional.latent import lerp, slerp

T = torch.linspace(0, 1, 11)


def normal(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def units(*shape, **kind):
    x = normal(*shape, **kind)
    return x / x.norm(dim=-1, keepdim=True)


def angle(a, b):
    cosine = (a * b).sum(-1) / a.norm(dim=-1) / b.norm(dim=-1)
    return torch.acos(cosine.clamp(-1, 1))


@pytest.mark.parametrize("d", [2, 3, 64, 512])
def test_slerp_is_scipys_on_the_sphere(d):
    a, b = units(2, 20, d, dtype=torch.float64)
    ours = slerp(a[:, None], b[:, None], T.double())
    for i in range(20):
        scipys = geometric_slerp(a[i].numpy(), b[i].numpy(), T.double().numpy())
        np.testing.assert_allclose(ours[i], scipys, atol=1e-12)


@pytest.mark.parametrize("way", [lerp, slerp])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_ends_are_exact(way, dtype):
    a, b = normal(2, 200, 16, dtype=torch.float64).to(dtype)
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    made = way(a[:, None], b[:, None], ends)
    assert made.dtype == dtype
    assert torch.equal(made[:, 0], a) and torch.equal(made[:, 1], b)


@pytest.mark.parametrize("d", [2, 100])
def test_unit_vectors_stay_unit_and_turn_evenly(d):
    a, b = units(2, 50, d)
    norms = slerp(a[:, None], b[:, None], T).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(50, 11), rtol=0, atol=1e-4)
    a, b = units(2, 50, d, dtype=torch.float64)
    made, omega = slerp(a[:, None], b[:, None], T.double()), angle(a, b)[:, None]
    # The arc cosine has half of the digits at its ends.
    torch.testing.assert_close(angle(made, a[:, None]), T.double() * omega, rtol=0, atol=1e-6)
    torch.testing.assert_close(angle(made, b[:, None]), (1 - T.double()) * omega, rtol=0, atol=1e-6)
    half = slerp(a, b, torch.tensor(0.5).double())
    torch.testing.assert_close(angle(a, half), omega[:, 0] / 2)
    torch.testing.assert_close(angle(half, b), omega[:, 0] / 2)


def test_the_norm_of_a_normal_vector_is_kept_where_a_line_loses_it():
    a, b = normal(2, 200, 512)
    half = torch.tensor(0.5)
    ends = (a.norm(dim=1) + b.norm(dim=1)) / 2
    torch.testing.assert_close(slerp(a, b, half).norm(dim=1), ends)
    quarter = slerp(a, b, torch.tensor(0.25)).norm(dim=1)
    torch.testing.assert_close(quarter, 0.75 * a.norm(dim=1) + 0.25 * b.norm(dim=1))
    lost = lerp(a, b, half).norm(dim=1) / ends
    assert abs(lost.mean() - 0.5**0.5) < 0.01  # two independent vectors are at right angles


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_an_arc_it_is_the_line(dtype):
    a = normal(5, 8, dtype=dtype)
    t = T.to(dtype)
    for b in (a, 3 * a, -a, -2 * a, torch.zeros_like(a)):
        made = slerp(a[:, None], b[:, None], t)
        assert made.isfinite().all()
        torch.testing.assert_close(made, lerp(a[:, None], b[:, None], t), rtol=1e-4, atol=1e-4)
    zero = torch.zeros(3, dtype=dtype)
    assert torch.equal(slerp(zero, zero, t), torch.zeros(11, 3, dtype=dtype))


@pytest.mark.parametrize("epsilon", [1e-2, 1e-4, 1e-6, 1e-7])
@pytest.mark.parametrize("sign", [1, -1])
def test_nearly_parallel_vectors_lose_nothing(epsilon, sign):
    a, c = units(2, 20, 32)
    b = sign * a + epsilon * c
    made = slerp(a[:, None], b[:, None], T)
    assert made.isfinite().all()
    assert torch.equal(made[:, 0], a) and torch.equal(made[:, -1], b)
    if sign == 1:
        line = lerp(a[:, None], b[:, None], T)
        torch.testing.assert_close(made, line, rtol=0, atol=epsilon**2 + 1e-6)


def test_the_line_is_torchs():
    a, b = normal(2, 4, 7)
    for t in T:
        torch.testing.assert_close(lerp(a, b, t), torch.lerp(a, b, t))
    assert lerp(a[:, None], b[:, None], T).shape == (4, 11, 7)
    rows = torch.rand(4)  # a share for each pair
    torch.testing.assert_close(lerp(a, b, rows), torch.lerp(a, b, rows[:, None]))
