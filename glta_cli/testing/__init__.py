"""The conformance kit: what a plugin author's tests call, one line a component.

    from glta_cli.testing import check_encoder


    def test_my_encoder():
        check_encoder("mine")

A check raises `ContractError`, an `AssertionError`, which says what the contract is and how it is broken.
"""

from glta_cli.testing.backbone import check_backbone
from glta_cli.testing.baseline import check_baseline
from glta_cli.testing.contract import ContractError
from glta_cli.testing.dataset import check_dataset
from glta_cli.testing.encoder import check_encoder
from glta_cli.testing.logger import check_logger

__all__ = ["ContractError", "check_backbone", "check_baseline", "check_dataset", "check_encoder", "check_logger"]
