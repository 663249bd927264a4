"""The teacher: a copy of the student that follows it slowly, and never learns itself."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """The exponential moving average of a student (Tarvainen and Valpola 2017; DINO, Caron et al. 2021).

    It starts as the student is. What the student does not train (`requires_grad` False: the weights beside LoRA
    adapters) is shared with it and not copied. Always in eval mode: a teacher drops nothing, whatever mode the module
    that holds it is put in.

    In a training, let the teacher be a part of the task's module, so that it comes along to the device, and give
    `state` with what the task's `state` returns.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        shared: dict[int, Any] = {id(each): each for each in student.parameters() if not each.requires_grad}
        self._followed = tuple(name for name, each in student.named_parameters() if each.requires_grad)
        self.network = copy.deepcopy(student, shared)
        for name in self._followed:
            self.network.get_parameter(name).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the copy answers, without gradients."""
        with torch.no_grad():
            return self.network(*given, **named)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Each weight becomes momentum × itself + (1 − momentum) × the student's; buffers become the student's.

        `student` is the one the teacher was made of. Momentum 1 leaves the weights, 0 copies those of the student.
        """
        mine: list[Tensor] = [self.network.get_parameter(name) for name in self._followed]
        theirs = [student.get_parameter(name).detach() for name in self._followed]
        if mine:
            torch._foreach_lerp_(mine, theirs, 1.0 - momentum)
        buffers = dict(student.named_buffers())
        for name, each in self.network.named_buffers():
            each.copy_(buffers[name])

    def state(self) -> dict[str, Tensor]:
        """The tensors by name, live, in which it differs from the student: for checkpoints."""
        tensors = {name: self.network.get_parameter(name).detach() for name in self._followed}
        return tensors | dict(self.network.named_buffers())
