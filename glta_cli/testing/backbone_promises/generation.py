"""What a language model promises of `generate()`."""

from __future__ import annotations

import torch

from glta_cli.language.prompts import encode
from glta_cli.plugin import LanguageModel
from glta_cli.testing.backbone_promises.source import device_of
from glta_cli.testing.contract import Contract

PROMPTS = ("A user liked films about space.", "Once", "Name three words for a garden, please:")
NEW_TOKENS = 6


def generation_promises(contract: Contract, model: LanguageModel) -> None:
    """It continues prompts greedily, each as if it were alone."""
    answers: list[str] = []
    with contract.promise("generate() gives one text a prompt, and an empty list for none"):
        answers = model.generate(list(PROMPTS), NEW_TOKENS)
        assert len(answers) == len(PROMPTS), f"{len(answers)} for {len(PROMPTS)} prompts"
        assert all(isinstance(answer, str) for answer in answers), f"{answers!r}"
        nothing = model.generate([], NEW_TOKENS)
        assert nothing == [], f"{nothing!r} for no prompts"
    if not answers:
        return
    with contract.promise("generate() gives the new text only"):
        assert not all(a.startswith(p) for a, p in zip(answers, PROMPTS, strict=True)), (
            f"the prompt is in {answers[0]!r}"
        )
    with contract.promise("generate() continues a prompt by at most `max_new_tokens` tokens"):
        for answer in answers:
            # Bytes that are no text decode to a mark of several bytes, and a text may be cut into tokens otherwise
            # than it was generated: not so much that it would be twice as many.
            tokens = len(encode(model.tokenizer, answer.replace("\ufffd", "")))
            assert tokens <= 2 * NEW_TOKENS, f"some {tokens} where {NEW_TOKENS} are asked for: {answer!r}"
    with contract.promise("generate() is greedy: it gives the same again, and changes no mode of the module"):
        model.module.train()
        try:
            again = model.generate(list(PROMPTS), NEW_TOKENS)
            assert model.module.training, "the module has left training mode"
        finally:
            model.module.eval()
        assert again == answers, f"{answers}, then {again}"
    if model.embed(torch.tensor([0], device=device_of(model))).dtype != torch.float32:
        return  # rounding may decide between two tokens
    with contract.promise("generate() gives each prompt what it gives the prompt alone"):
        alone = [text for prompt in PROMPTS for text in model.generate([prompt], NEW_TOKENS)]
        assert alone == answers, f"alone {alone}, together {answers}"
