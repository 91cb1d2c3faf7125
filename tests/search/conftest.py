"""One thread for all tests here: maps are tiny, and two test processes with two threads each fight for the cores."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
