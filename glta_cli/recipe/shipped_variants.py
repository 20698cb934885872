"""The variants and grids every recipe has without listing them: rows an evaluation can be asked for."""

from __future__ import annotations

from typing import Any

# What a variant may change: everything between the dataset, which all rows share, and the evaluation.
VARIANT_SECTIONS = ("graph", "backbone", "prompts", "text", "align", "interests", "finetune", "fusion")
WORDLESS: dict[str, Any] = {"interests": {"profile": False, "prediction": False}}
# Of encoders that read histories in order: they are many steps from where they start, at random. Chosen on validation
# data of Amazon Scientific with each user's last items held out, where cosines at 0.1 ranked better than states of unit
# length against vectors of any, as the authors have it.
IN_ORDER: dict[str, Any] = {
    "loss": "softmax",
    "temperature": 0.1,
    "training": {"epochs": 100, "batch_size": 128, "learning_rate": 1e-3},
}
VARIANTS: dict[str, dict[str, Any]] = {
    # Graph encoders: the same training as the recipe's, but for these.
    "mf-softmax": {"graph": {"encoder": "mf", "loss": "softmax"}},
    "lightgcn-softmax": {"graph": {"encoder": "lightgcn", "loss": "softmax"}},
    "lightgcn-bpr": {
        "graph": {
            "encoder": "lightgcn",
            "loss": "bpr",
            "options": {"layers": 3},
            # On Amazon Scientific these reach a higher validation NDCG@10 than the authors' batches of 2,048, rate of
            # 1e-3 and random start, and sooner; on MovieLens-100K a higher one than from a random start. From singular
            # vectors the first epochs lead downhill, so it takes patience.
            "training": {
                "epochs": 300,
                "batch_size": 8192,
                "learning_rate": 5e-3,
                "validate_every": 10,
                "patience": 15,
            },
        }
    },
    # Its few parameters are shared by all nodes: they want more and smaller steps than free embeddings.
    "alpharec": {"graph": {"encoder": "alpharec", "training": {"epochs": 100, "learning_rate": 2e-3}}},
    "sasrec": {"graph": {"encoder": "sasrec", **IN_ORDER}},
    "sasrec-text": {"graph": {"encoder": "sasrec-text", **IN_ORDER}},
    # The paper's ablations: item-text alignment, user tokens, profile, prediction.
    "wo-ia": {"align": {"enabled": False}},
    "wo-ua": {"finetune": {"user_token": False}},
    "wo-pf": {"interests": {"profile": False}},
    "wo-pd": {"interests": {"prediction": False}},
    "wo-pf-pd": WORDLESS,
    # Controls: what is left of the result without what the language model knows.
    "random-weights": {"backbone": {"weights": "random"}},
    "projector-only": {
        # It has no layers: none to leave after, and none to adapt.
        "backbone": {"name": "none", "layers": None, "lora": None},
        "text": {"vectors": False},
        "finetune": {"item_tokens": "graph"},
        "align": {"enabled": False},
        **WORDLESS,
    },
    "shuffled-text": {"text": {"shuffled": True}},
    "shuffled-users": {"finetune": {"shuffled_users": True}},
}


# What `--tune` tries of the shipped variants, as long as they are as shipped.
GRIDS: dict[str, dict[str, Any]] = {
    "mf-softmax": {"graph": {"temperature": [0.1, 0.2, 0.3]}},
    "lightgcn-softmax": {"graph": {"options": {"layers": [1, 2, 3]}, "temperature": [0.1, 0.2]}},
    # Its fits take several times as long as those of the softmax.
    "lightgcn-bpr": {"graph": {"options": {"layers": [2, 3]}}},
}
