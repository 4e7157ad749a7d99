"""What the model's tests share: a small bundle on disk, and one thread, because the machine may be busy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.model.small import write_small


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads that wait for each other on a shared machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained network, to be read and copied, never changed."""
    out = tmp_path_factory.mktemp("bundles") / "plate"
    write_small(out)
    return out
