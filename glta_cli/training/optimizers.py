"""AdamW: torch's own, or with moments of half the width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

Moments = Literal["float32", "bfloat16"]

# Numbers at once: their float32 copies are 4 MiB each.
CHUNK = 1 << 20
BETAS, EPSILON = (0.9, 0.999), 1e-8


def adamw(
    parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float, moments: Moments
) -> torch.optim.Optimizer:
    """AdamW, fused; moments in bfloat16 take 4 bytes a parameter in place of 8.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.
    """
    if moments == "bfloat16":
        return HalfMomentsAdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


class HalfMomentsAdamW(torch.optim.Optimizer):
    """AdamW whose moments are bfloat16, rounded stochastically; what is computed of them is float32.

    A second moment moves by a thousandth of itself in a step, and bfloat16 tells 1 from 1.008 at best: rounded to the
    nearest it would stay where it is. A moment is rounded up or down with the probability that makes its mean the
    moment itself, so that the errors of many steps cancel. What is drawn follows from the number of the step alone.

    Its state has the names of torch's AdamW: `step` float32, `exp_avg` and `exp_avg_sq` bfloat16.

    Source: Zamirai et al., Revisiting BFloat16 Training, 2020, section 3 (stochastic rounding).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the gradients; those of parameters that have none are left out."""
        for group in self.param_groups:
            for number, parameter in enumerate(group["params"]):
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, number, group["lr"], group["weight_decay"])

    def _step(
        self, parameter: nn.Parameter, gradient: Tensor, number: int, learning_rate: float, weight_decay: float
    ) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(parameter, dtype=torch.bfloat16, memory_format=torch.contiguous_format)
        state["step"] += 1
        step = int(state["step"])
        generator = torch.Generator(parameter.device).manual_seed((step << 20) + number)
        bias, bias_sq = 1 - BETAS[0] ** step, 1 - BETAS[1] ** step
        numbers = parameter.detach().contiguous()
        for values, part, means, squares in _chunks(
            numbers, gradient.contiguous(), state["exp_avg"], state["exp_avg_sq"]
        ):
            exact = values.float()  # the parameter's own numbers where it is float32
            slope = part.float()
            mean = means.float().lerp_(slope, 1 - BETAS[0])
            square = squares.float().mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
            means.copy_(rounded(mean, generator))
            squares.copy_(rounded(square, generator))
            exact.mul_(1 - learning_rate * weight_decay)
            exact.addcdiv_(mean, square.sqrt_().div_(math.sqrt(bias_sq)).add_(EPSILON), value=-learning_rate / bias)
            if exact.data_ptr() != values.data_ptr():
                values.copy_(exact)
        if numbers.data_ptr() != parameter.data_ptr():
            parameter.copy_(numbers)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but moments keep their width."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for parameter in group["params"]:
                for name in ("exp_avg", "exp_avg_sq"):
                    if name in self.state[parameter]:
                        self.state[parameter][name] = self.state[parameter][name].to(torch.bfloat16)


def rounded(exact: Tensor, generator: torch.Generator) -> Tensor:
    """float32 [n] as bfloat16 [n]: the next above or below, with the probability that makes it right on average.

    bfloat16 is the upper half of a float32: to add a random lower half and cut carries into the upper one as
    often as the lower one is large.
    """
    # Four draws of 16 bits at a time: to draw is what takes longest.
    bits = torch.empty(-(-exact.numel() // 4), dtype=torch.int64, device=exact.device)
    bits.random_(-(2**63), None, generator=generator)
    lower = bits.view(torch.int16)[: exact.numel()].to(torch.int32).bitwise_and_(0xFFFF)
    upper = exact.contiguous().view(torch.int32).add(lower).bitwise_and_(-0x10000)
    return upper.view(torch.float32).to(torch.bfloat16)


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of contiguous tensors of one shape, [n] of each at a time."""
    flat = [tensor.view(-1) for tensor in tensors]
    for start in range(0, flat[0].numel(), CHUNK):
        yield tuple(each[start : start + CHUNK] for each in flat)
