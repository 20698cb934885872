"""What a language model promises of its tokenizer and of `embed()`."""

from __future__ import annotations

import torch

from glta_cli.language.chat import chat_text
from glta_cli.language.prompts import encode
from glta_cli.plugin import LanguageModel
from glta_cli.testing.backbone_promises.source import TEXT
from glta_cli.testing.contract import Contract


def token_promises(contract: Contract, model: LanguageModel, device: torch.device) -> None:
    """Texts become ids and ids embeddings, and no text is changed on the way."""
    tokenizer = model.tokenizer
    with contract.promise("tokenizer is one of transformers: it encodes a text and decodes the very text back"):
        ids = encode(tokenizer, TEXT)
        [decoded] = tokenizer.batch_decode([ids], skip_special_tokens=True)
        # Some vocabularies begin a text with a space.
        assert decoded.strip() == TEXT, f"{TEXT!r} becomes {decoded!r}"
        [called] = tokenizer([TEXT], add_special_tokens=False)["input_ids"]
        assert called == ids, "encode() and calling it differ"
        message = chat_text(tokenizer, "", TEXT)
        assert TEXT in message, f"its chat template leaves the message out: {message!r}"
    with contract.promise("embed() takes token ids of any shape [...] and gives [..., hidden_size] on the device"):
        six = torch.tensor(encode(tokenizer, TEXT)[:6], device=device)
        expected = None
        for shape in ((6,), (2, 3), (1, 3, 2)):
            found = model.embed(six.view(shape))
            assert found.shape == (*shape, model.hidden_size), f"ids {list(shape)} give {list(found.shape)}"
            assert found.is_floating_point(), f"they are {found.dtype}"
            assert found.device.type == device.type, f"they are on {found.device}"
            expected = found if expected is None else expected
            assert torch.equal(found.flatten(), expected.flatten()), "a token's embedding depends on the shape"
    with contract.promise("every id of the tokenizer has an embedding"):
        last = len(tokenizer) - 1
        found = model.embed(torch.tensor([0, last], device=device))
        assert found.isfinite().all(), f"those of 0 and {last} are not finite"
