"""Names that doctests may use without importing them."""

import pytest
import torch


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace: dict) -> None:
    """Give doctests torch and nn, and a fixed seed."""
    doctest_namespace.update(torch=torch, nn=torch.nn)
    torch.manual_seed(0)
