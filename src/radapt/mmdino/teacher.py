"""The teacher: an exponential moving average of the student."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """The exponential moving average of a student (Tarvainen and Valpola 2017; DINO, Caron et al. 2021).

    It starts with the student's weights. Parameters that the student does not train (`requires_grad` False, such as the
    weights beside LoRA adapters) are shared with it and not copied. The teacher stays in eval mode, also when the
    module that contains it is put in training mode.

    In a training, make the teacher a submodule of the task's module, so that it moves to the device with it, and add
    its `state` to that of the task.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        shared: dict[int, Any] = {id(weight): weight for weight in student.parameters() if not weight.requires_grad}
        self._followed = tuple(name for name, weight in student.named_parameters() if weight.requires_grad)
        self.network = copy.deepcopy(student, shared)
        for name in self._followed:
            self.network.get_parameter(name).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Teacher":
        """Stays in eval mode, whatever `mode` is."""
        return super().train(False)

    def forward(self, *given: Any, **named: Any) -> Any:
        """The output of the teacher, without gradients."""
        with torch.no_grad():
            return self.network(*given, **named)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Set each weight to momentum × weight + (1 − momentum) × the student's weight, and copy the student's buffers.

        `student` is the module that the teacher was made from. Momentum 1 keeps the weights, 0 copies the student's.
        """
        weights: list[Tensor] = [self.network.get_parameter(name) for name in self._followed]
        student_weights = [student.get_parameter(name).detach() for name in self._followed]
        if weights:
            torch._foreach_lerp_(weights, student_weights, 1.0 - momentum)
        buffers = dict(student.named_buffers())
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])

    def state(self) -> dict[str, Tensor]:
        """The tensors, by name and live, in which it differs from the student, for checkpoints."""
        tensors = {name: self.network.get_parameter(name).detach() for name in self._followed}
        return tensors | dict(self.network.named_buffers())
