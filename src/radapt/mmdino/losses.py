"""The losses of self-distillation: DINO on CLS tokens, iBOT on masked patches, KoLeo on the spread of features.

All are computed in float32, also under autocast. DINO and iBOT are plain means over images. KoLeo (the nearest other
image) and Sinkhorn–Knopp (`radapt.mmdino.centring`) couple the images of a batch: with gradient accumulation they see
one part of the batch at a time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from radapt.errors import UsageError
from radapt.mmdino.centring import check_temperature

STUDENT_TEMPERATURE = 0.1
"""DINO, iBOT, DINOv2 and MM-DINOv2."""

NEAREST = 1e-3
"""Smallest distance of unit vectors that KoLeo resolves, about the rounding error of bfloat16. Below it the gradient,
1 / distance, would follow rounding errors and push equal images apart in a random direction."""


def dino_loss(
    student: Tensor | Sequence[Tensor],
    teacher: Tensor,
    temperature: float = STUDENT_TEMPERATURE,
    same: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Cross-entropy between the teacher's targets and the student's predictions, averaged over crops and images; ().

    B images, S student crops, G teacher crops, K prototypes. `student` (S, B, K) are logits, or several tensors
    (s, B, K), such as those of large and small crops; `teacher` (G, B, K) are centred probabilities, through which no
    gradient flows. `same` are the pairs (student crop, teacher crop) to leave out: None leaves out (g, g), for students
    whose first crops are those of the teacher (Caron et al. 2021); () leaves out none.

    The mean over the remaining pairs and over images, as in DINOv2, which divides by 2 + 2 · 8 pairs. Float32.

    Raises UsageError for shapes that do not fit, a temperature that is not positive, and if no pair remains.
    """
    check_temperature(temperature)
    joined = student if isinstance(student, Tensor) else torch.cat(list(student))
    if joined.ndim != 3 or teacher.ndim != 3 or joined.shape[1:] != teacher.shape[1:] or not joined.shape[1]:
        raise UsageError(
            f"Student {tuple(joined.shape)} and teacher {tuple(teacher.shape)} do not fit: expected (S, B, K) and "
            "(G, B, K) with at least one image."
        )
    pairs = torch.ones(len(joined), len(teacher), dtype=torch.bool)
    for s, g in ((crop, crop) for crop in range(min(pairs.shape))) if same is None else same:
        if not (0 <= s < len(joined) and 0 <= g < len(teacher)):
            raise UsageError(f"There is no pair ({s}, {g}) of {len(joined)} student and {len(teacher)} teacher crops.")
        pairs[s, g] = False
    if not pairs.any():
        raise UsageError("No pair of different student and teacher crops remains to compare; use more crops.")
    logs = torch.log_softmax(joined.float() / temperature, dim=-1)
    with torch.autocast(logs.device.type, enabled=False):
        crossed = -logs.flatten(1) @ teacher.detach().float().flatten(1).T  # (S, B K) x (B K, G) -> (S, G)
    return crossed[pairs.to(crossed.device)].mean() / joined.shape[1]


def ibot_loss(
    student: Tensor, teacher: Tensor, owner: Tensor, images: int, temperature: float = STUDENT_TEMPERATURE
) -> Tensor:
    """Cross-entropy between the teacher's targets and the student's predictions at masked patches; () float32.

    n masked patches of all `images` (here every crop is an image), K prototypes. `student` (n, K) are logits, `teacher`
    (n, K) centred probabilities, through which no gradient flows; `owner` (n,) int64 is the image of each patch,
    0…images − 1, in any order. The mean over the masked patches of each image, then over all images, where those
    without masked patches count as zero (Zhou et al. 2022; DINOv2). Without any masked patch: 0, with zero gradients.

    Raises UsageError for shapes that do not fit, owners out of range (checked on a CPU only; elsewhere the check would
    make the program wait for the device) and a temperature that is not positive.
    """
    check_temperature(temperature)
    if student.ndim != 2 or student.shape != teacher.shape or owner.shape != student.shape[:1] or images < 1:
        raise UsageError(
            f"Student {tuple(student.shape)}, teacher {tuple(teacher.shape)} and owner {tuple(owner.shape)} of "
            f"{images} images do not fit: expected (n, K), (n, K), (n,) and at least one image."
        )
    if owner.device.type == "cpu" and len(owner) and not (int(owner.min()) >= 0 and int(owner.max()) < images):
        raise UsageError(f"Owners run from {int(owner.min())} to {int(owner.max())}; expected 0 to {images - 1}.")
    logs = torch.log_softmax(student.float() / temperature, dim=1)
    crossed = -(teacher.detach().float() * logs).sum(1)  # (n,)
    masked = torch.zeros(images, device=owner.device).index_add(0, owner, torch.ones_like(owner, dtype=torch.float32))
    return (crossed / masked[owner]).sum() / images


def koleo(cls: Tensor) -> Tensor:
    """Mean of −log distance of each feature to its nearest neighbour, all scaled to length 1; () float32.

    The Kozachenko–Leonenko entropy estimator as a regulariser (Sablayrolles et al. 2019): evenly spread features have a
    low loss. `cls` (n, D) are features of n different images, or (G, n, D) those of G crops of each. Crops are compared
    with the same crop of other images only, since crops of one image should be close, and their losses are added, as in
    DINOv2.

    A single image has no neighbour: 0, with zero gradients. Neighbours closer than `NEAREST` count as that far apart
    and have no gradient.

    Raises UsageError for other shapes.
    """
    if cls.ndim not in (2, 3) or not cls.shape[-1]:
        raise UsageError(f"Expected features (n, D) or (G, n, D), got {tuple(cls.shape)}.")
    count = cls.shape[-2]
    if count < 2:
        return 0.0 * cls.float().sum()
    with torch.autocast(cls.device.type, enabled=False):
        unit = normalize(cls.float(), dim=-1).view(-1, count, cls.shape[-1])  # (G, n, D)
        with torch.no_grad():
            cosines = unit @ unit.mT  # (G, n, n)
            cosines.diagonal(dim1=1, dim2=2).fill_(-2.0)  # a sample is excluded from its own neighbours
            nearest = cosines.argmax(2)  # (G, n)
        others = unit.gather(1, nearest[..., None].expand_as(unit))
        distances = torch.linalg.vector_norm(unit - others, dim=-1)  # (G, n)
        return -distances.clamp(min=NEAREST).log().mean(1).sum()
