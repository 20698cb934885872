"""Graph encoders that keep every promise, and what `check_encoder` is asked."""

from __future__ import annotations

import pytest
import torch

from glta_cli.testing import ContractError, check_encoder
from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder import encoder_promises
from tests.testing.encoder_promises.factors import Factors, FactorSettings, check


@pytest.mark.parametrize("start", ["spectral", "random"])
def test_lightgcn_keeps_every_promise(start: str) -> None:
    check_encoder("lightgcn", options={"start": start})


def test_the_smallest_encoder_keeps_every_promise() -> None:
    contract = Contract("mine")
    check(contract, Factors, FactorSettings())
    assert contract.promises >= 17


def test_the_checks_leave_the_generator_of_torch_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    encoder_promises(Contract("mine"), Factors, FactorSettings())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_nobody_declares_is_told_with_the_one_meant() -> None:
    with pytest.raises(ContractError, match=r"(?s)no encoder is called 'lightgnc'.*did you mean 'lightgcn'"):
        check_encoder("lightgnc")


def test_settings_that_are_refused_are_told() -> None:
    with pytest.raises(ContractError, match=r"take that\n.*options[.]layers"):
        check_encoder("lightgcn", options={"layers": -1})
