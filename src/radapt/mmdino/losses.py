"""The losses of self-distillation: DINO on CLS tokens, iBOT on hidden patches, KoLeo on the spread of features.

All are computed in float32, under autocast too. DINO and iBOT are plain means over images. What couples the images of
a batch is KoLeo, which looks for the nearest other image, and Sinkhorn–Knopp (`radapt.mmdino.centring`), which looks
at the samples at hand beside those it remembers: a batch that is learned in pieces is coupled within each piece only.
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
"""Distances of unit vectors that KoLeo tells apart. bfloat16 moves them by about as much, and below it the gradient,
1 / distance, would be that of rounding: equal images are left alone rather than torn apart in a random direction."""


def dino_loss(
    student: Tensor | Sequence[Tensor],
    teacher: Tensor,
    temperature: float = STUDENT_TEMPERATURE,
    same: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Mean cross-entropy of the student's answers to its crops towards the teacher's to its own; () float32.

    B images, S student crops, G teacher crops, K prototypes. `student` (S, B, K) are logits, or several tensors
    (s, B, K) that are joined, as large and small crops come; `teacher` (G, B, K) are centred probabilities, through
    which no gradient flows. `same` are the pairs (student crop, teacher crop) to leave out: None leaves out (g, g),
    for students whose first crops are those of the teacher (Caron et al. 2021); () leaves out none, which is right
    where the student does not see all that the teacher sees of the same crop.

    The mean over the pairs that are left and over images, as DINOv2 has it, which divides by 2 + 2 · 8 pairs.

    Raises UsageError for shapes that do not fit, a temperature that is not positive, and where no pair is left.
    """
    check_temperature(temperature)
    joined = student if isinstance(student, Tensor) else torch.cat(list(student))
    if joined.ndim != 3 or teacher.ndim != 3 or joined.shape[1:] != teacher.shape[1:] or not joined.shape[1]:
        raise UsageError(
            f"Student {tuple(joined.shape)} and teacher {tuple(teacher.shape)} do not fit: expected (S, B, K) and "
            "(G, B, K) with at least one image."
        )
    pairs = torch.ones(len(joined), len(teacher), dtype=torch.bool)
    for s, g in ((each, each) for each in range(min(pairs.shape))) if same is None else same:
        if not (0 <= s < len(joined) and 0 <= g < len(teacher)):
            raise UsageError(f"There is no pair ({s}, {g}) of {len(joined)} student and {len(teacher)} teacher crops.")
        pairs[s, g] = False
    if not pairs.any():
        raise UsageError("No pair of a student's and a teacher's crop is left to compare; use more crops.")
    logs = torch.log_softmax(joined.float() / temperature, dim=-1)
    with torch.autocast(logs.device.type, enabled=False):
        crossed = -logs.flatten(1) @ teacher.detach().float().flatten(1).T  # (S, B K) x (B K, G) -> (S, G)
    return crossed[pairs.to(crossed.device)].mean() / joined.shape[1]


def ibot_loss(
    student: Tensor, teacher: Tensor, owner: Tensor, images: int, temperature: float = STUDENT_TEMPERATURE
) -> Tensor:
    """Cross-entropy of the student at patches hidden from it towards the teacher, who sees them; () float32.

    n hidden patches of all `images` (crops are images here), K prototypes. `student` (n, K) logits, `teacher` (n, K)
    centred probabilities, through which no gradient flows; `owner` (n,) int64 says whose a patch is, 0…images − 1, in
    any order. The mean over the hidden patches of each image, then over all images, of which those without hidden
    patches count as zero (Zhou et al. 2022; so in DINOv2). No hidden patch anywhere: 0, with zero gradients.

    Raises UsageError for shapes that do not fit, owners out of range (looked at on a CPU only, elsewhere the look would
    stall the device) and a temperature that is not positive.
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
    hidden = torch.zeros(images, device=owner.device).index_add(0, owner, torch.ones_like(owner, dtype=torch.float32))
    return (crossed / hidden[owner]).sum() / images


def koleo(cls: Tensor) -> Tensor:
    """-log of the distance of each feature to the nearest other one, both of length 1, in the mean; () float32.

    The entropy estimator of Kozachenko and Leonenko as a regulariser (Sablayrolles et al. 2019): features that spread
    evenly have a low loss. `cls` (n, D) of n different images, or (G, n, D) of G crops of each: crops are looked at
    one by one, since those of one image should be near each other, and their losses added, as DINOv2 does.

    One image has no other: 0, with zero gradients. Nearest ones closer than `NEAREST` count as that far apart and
    have no gradient.

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
            cosines.diagonal(dim1=1, dim2=2).fill_(-2.0)  # nobody is his own neighbour
            nearest = cosines.argmax(2)  # (G, n)
        others = unit.gather(1, nearest[..., None].expand_as(unit))
        distances = torch.linalg.vector_norm(unit - others, dim=-1)  # (G, n)
        return -distances.clamp(min=NEAREST).log().mean(1).sum()
