"""A vision transformer that takes any subset of a set of modalities, as MM-DINOv2 does (arXiv 2509.06617).

All modalities of a case form one sequence behind one CLS token. They share the pretrained patch embedding, a learned
embedding identifies each of them, and absent ones have no tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from radapt.backbones.card import WeightCard
from radapt.backbones.multimodal_vit.blocks import Depth, ending, whole
from radapt.backbones.multimodal_vit.inputs import Crops, Encoded, Summary, checked, mean_by
from radapt.backbones.multimodal_vit.packing import PackedLayout, TokenPositions, indices
from radapt.backbones.multimodal_vit.patch_embedding import embedded, patches_of
from radapt.backbones.position import RECIPES, PositionCache
from radapt.errors import UsageError, suggest

__all__ = ["Crops", "Encoded", "MultiModalViT", "Summary"]


class Plain(Protocol):
    """The part of a `Backbone` that an encoder is made from."""

    card: WeightCard
    module: nn.Module

    @property
    def device(self) -> torch.device: ...


class MultiModalViT(nn.Module):
    """The encoder of `modalities` around `vit`, timm's VisionTransformer with a CLS token, which it trains in place.

    `mean` and `std` are the normalisation of the pretrained weights, `position_recipe` is one of `position.RECIPES`.
    `positions`: with `shared`, all modalities have the same position embedding (published); with `tiled`, they stand
    side by side as one wide image whose positions are interpolated (the paper's baseline, concatenation).
    `modality_embedding`: a learned embedding per modality, scaled to length 1 with `unit_embedding` (published) and
    initialised from `seed`.

    `drop_path`: share of the cases that each residual branch skips in training (DINOv2: 0.3, the same in all blocks).
    `hidden_blocks`: number of last blocks that process masked patches, as mask tokens; None: all (published); 0: none.

    Raises UsageError for another kind of module, for no or repeated modalities, and for an unknown recipe.
    """

    def __init__(
        self,
        vit: nn.Module,
        *,
        modalities: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        position_recipe: str,
        positions: Literal["shared", "tiled"] = "shared",
        modality_embedding: bool = True,
        unit_embedding: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(vit, modalities, position_recipe, positions)
        self.vit: Any = vit
        self.modalities = tuple(modalities)
        self.positions = positions
        self.position_recipe = position_recipe
        self.unit_embedding = unit_embedding
        self.drop_path = 0.0
        self.hidden_blocks: int | None = None
        self.mask_token = nn.Parameter(torch.zeros(self.width))  # DINOv2's start
        drawn = torch.randn(len(self.modalities), self.width, generator=torch.Generator().manual_seed(seed)) * 0.02
        self.modality_embedding = nn.Parameter(drawn) if modality_embedding else None
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32), persistent=False)
        self._positions = PositionCache(RECIPES[position_recipe])

    @classmethod
    def of(cls, backbone: Plain, modalities: Sequence[str], **options: Any) -> "MultiModalViT":
        """Around the module of a backbone, which is not copied; `options` as in the constructor."""
        card = backbone.card
        settings: dict[str, Any] = {"mean": card.mean, "std": card.std, "position_recipe": card.position_recipe}
        return cls(backbone.module, modalities=modalities, **settings, **options).to(backbone.device)

    @property
    def width(self) -> int:
        """D, the dimension of a token."""
        return self.vit.embed_dim

    @property
    def patch(self) -> int:
        """Pixels per patch and side."""
        return self.vit.patch_embed.patch_size[0]

    @property
    def depth(self) -> int:
        return len(self.vit.blocks)

    def columns(self, names: Sequence[str]) -> tuple[int, ...]:
        """The index of each of `names` among the modalities. Raises UsageError for unknown names."""
        unknown = [name for name in names if name not in self.modalities]
        if unknown:
            raise UsageError(
                f"The encoder does not know the {'modality' if len(unknown) == 1 else 'modalities'} "
                f"{', '.join(map(repr, unknown))}. {suggest(unknown[0], self.modalities)}"
            )
        return tuple(self.modalities.index(name) for name in names)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches for an image, as in `Backbone.grid`."""
        patch = self.patch
        return max(1, (height + patch // 2) // patch), max(1, (width + patch // 2) // patch)

    def forward(self, crops: Crops, layers: Sequence[int] | None = None) -> Encoded:
        """The tokens of `crops`; see `Crops` and `Encoded`.

        Images whose sides are no multiple of the patch are resized as in `Backbone.tokens`. `layers`: blocks, counted
        from the end (-1 is the last), whose CLS token and patch mean are returned too. Results do not depend on the
        other cases of the batch, except in training with `drop_path`. Raises UsageError for shapes that do not fit,
        DataError for a case without any modality.
        """
        return self._encode([crops], self._counted(layers or (), crops))[0]

    def encode(self, many: Sequence[Crops]) -> list[Encoded]:
        """The tokens of crops of several sizes, with the same results as one after the other."""
        return self._encode(many, [])

    def _encode(self, many: Sequence[Crops], layers: list[int]) -> list[Encoded]:
        # N sequences of all crops, T patch tokens, R prefix tokens, D dimensions
        parts = [_Part.of(crops, self) for crops in many]
        places = TokenPositions.joined([part.places for part in parts])
        joins = self._joins() if any(crops.hidden is not None for crops in many) else self.depth
        depth = Depth(places.sequences, self.drop_path if self.training else 0.0)
        x, layout = self._entering(parts, places)
        summaries: dict[int, Summary] = {}
        for number, block in enumerate(self.vit.blocks):
            if number == joins:
                x, layout = self._joining(x, layout, parts, places)
            if number == self.depth - 1 and not layout.places.wanted.all():
                x = ending(block, x, layout.packing, depth, layout.needed())
            else:
                x = whole(block, x, layout.packing, depth)
            if number in layers:
                summaries[number] = self._summary(x, layout)
        return self._encoded(x, layout, parts, tuple(summaries[number] for number in layers))

    def _joins(self) -> int:
        """The block before which masked patches join; the number of blocks if they never do."""
        return 0 if self.hidden_blocks is None else max(0, self.depth - self.hidden_blocks)

    def _entering(self, parts: "list[_Part]", places: TokenPositions) -> tuple[Tensor, PackedLayout]:
        """The prefix tokens and the visible patches of all sequences, packed."""
        layout = PackedLayout(places.only(~places.hidden), self.vit.num_prefix_tokens)
        visible = [self._embedded(part) + self._table(part, ~part.places.hidden) for part in parts]
        prefix = self._prefix().expand(places.sequences, -1, -1).flatten(0, 1)  # (N·R, D)
        source = layout.filled(
            np.arange(len(prefix)).reshape(layout.prefix.shape), len(prefix) + np.arange(len(layout.patches))
        )
        x = torch.cat([prefix, *visible]).index_select(0, indices(source, prefix.device))
        return self.vit.norm_pre(x), layout

    def _joining(
        self, x: Tensor, before: PackedLayout, parts: "list[_Part]", places: TokenPositions
    ) -> tuple[Tensor, PackedLayout]:
        """The tokens so far, together with mask tokens for the masked patches, packed again."""
        layout = PackedLayout(places, self.vit.num_prefix_tokens)
        masks = torch.cat([self.mask_token + self._table(part, part.places.hidden) for part in parts])
        patches = np.empty(len(layout.patches), np.int64)
        patches[~places.hidden] = before.patches
        patches[places.hidden] = len(x) + np.arange(len(masks))
        source = indices(layout.filled(before.prefix, patches), x.device)
        return torch.cat([x, self.vit.norm_pre(masks).to(x.dtype)]).index_select(0, source), layout

    def _embedded(self, part: "_Part") -> Tensor:
        """Patch embeddings of the visible patches: (T, D)."""
        images = part.crops.images.to(self.mask_token.device)
        where = indices(part.places.index[~part.places.hidden], images.device)
        return embedded(self.vit, patches_of(images, part.grid, self.patch, where), self.mean, self.std)

    def _table(self, part: "_Part", which: np.ndarray) -> Tensor:
        """Sum of position and modality embedding of the patches selected by `which`: (T, D)."""
        rows, columns = part.grid
        count = len(self.modalities)
        table = self.mask_token.new_zeros(count, rows * columns, self.width)  # (M, h·w, D)
        if self.vit.pos_embed is not None:
            table = table + self._places(rows, columns)
        if self.modality_embedding is not None:
            table = table + self._units(self.modality_embedding)[:, None]
        where = indices(part.places.index[which] % (count * rows * columns), table.device)
        return nn.functional.embedding(where, table.flatten(0, 1))  # indexing is not deterministic in backward

    def _places(self, rows: int, columns: int) -> Tensor:
        """Position embeddings (1 or M, h·w, D)."""
        source = self.vit.pos_embed
        base = source[:, 0 if self.vit.no_embed_class else self.vit.num_prefix_tokens :]
        if self.positions == "shared":
            return self._positions(base, (rows, columns), source)
        wide = self._positions(base, (rows, len(self.modalities) * columns), source)  # (1, h·M·w, D)
        return wide.view(rows, len(self.modalities), columns, -1).transpose(0, 1).flatten(1, 2)

    def _units(self, embedding: Tensor) -> Tensor:
        """(M, D): rows scaled to length 1; a row of zeros stays zero, with a finite gradient."""
        if not self.unit_embedding:
            return embedding
        length = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        return embedding / torch.where(length > 0, length, 1)

    def _prefix(self) -> Tensor:
        """CLS and register tokens at the input: (1, R, D)."""
        vit = self.vit
        prefix = torch.cat([token for token in (vit.cls_token, vit.reg_token) if token is not None], dim=1)
        if vit.pos_embed is None or vit.no_embed_class:
            return prefix
        return prefix + vit.pos_embed[:, : vit.num_prefix_tokens]

    def _summary(self, x: Tensor, layout: PackedLayout) -> Summary:
        """CLS token and mean of the patch tokens of a block's output (rows, D)."""
        x = self.vit.norm(x.clone()).float()  # later blocks work in place
        patches = x.index_select(0, indices(layout.patches, x.device))
        return Summary(x.index_select(0, indices(layout.prefix[:, 0], x.device)),
                       mean_by(patches, indices(layout.places.owner, x.device), layout.places.sequences))  # fmt: skip

    def _encoded(
        self, x: Tensor, layout: PackedLayout, parts: "list[_Part]", layers: tuple[Summary, ...]
    ) -> list[Encoded]:
        """The last block's output, cut into what belongs to each of the crops."""
        places = layout.places.only(layout.places.wanted)
        cls, patches = layout.prefix[:, 0], layout.patches[layout.places.wanted]
        if not layout.places.wanted.all():  # `ending` gave these rows only
            needed = layout.needed()
            cls, patches = np.searchsorted(needed, cls), np.searchsorted(needed, patches)
        x = self.vit.norm(x).float()
        found, first, place = [], 0, 0
        for part in parts:
            last = first + part.places.sequences
            until = int(np.searchsorted(places.owner, last))
            found.append(
                Encoded(
                    x.index_select(0, indices(cls[first:last], x.device)),
                    x.index_select(0, indices(patches[place:until], x.device)),
                    indices(places.index[place:until], x.device),
                    indices(places.hidden[place:until], x.device),
                    (len(part.crops), len(self.modalities), *part.grid),
                    layers,
                )
            )
            first, place = last, until
        return found

    def _counted(self, layers: Sequence[int], crops: Crops) -> list[int]:
        """Blocks counted from the end as those counted from the start."""
        wrong = [layer for layer in layers if not -self.depth <= layer <= -1]
        if wrong:
            raise UsageError(
                f"The encoder has {self.depth} layers, counted from the end: -1 (the last) to {-self.depth}. "
                f"Asked for: {', '.join(map(str, wrong))}."
            )
        if layers and crops.wanted is not None:
            raise UsageError("Layers are summed up over all tokens; leave out `wanted`, or `layers`.")
        return [layer + self.depth for layer in layers]


@dataclass(frozen=True)
class _Part:
    """Crops of one size and their patch positions."""

    crops: Crops
    grid: tuple[int, int]
    places: TokenPositions

    @classmethod
    def of(cls, crops: Crops, network: MultiModalViT) -> "_Part":
        rows, columns = network.grid(*crops.images.shape[-2:])
        checked(crops, network.modalities, (rows, columns))
        hidden, wanted = (None if given is None else given.cpu().numpy() for given in (crops.hidden, crops.wanted))
        return cls(
            crops, (rows, columns), TokenPositions.of(crops.present.cpu().numpy(), hidden, wanted, rows * columns)
        )


def _check(vit: nn.Module, modalities: Sequence[str], recipe: str, positions: str) -> None:
    from timm.layers import PatchEmbed
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block, VisionTransformer

    blocks: Any = getattr(vit, "blocks", ())
    plain = type(vit) is VisionTransformer and type(vit.patch_embed) is PatchEmbed and vit.cls_token is not None
    if not plain or not all(type(part) is Block and type(part.attn) is Attention for part in blocks):
        raise UsageError(
            f"Several modalities need a plain vision transformer with a CLS token and learned positions (DINOv2, DINO, "
            f"MSN, MAE, supervised ViTs), not {type(vit).__name__}."
        )
    if recipe not in RECIPES:
        raise UsageError(f"Unknown position recipe {recipe!r}. {suggest(recipe, RECIPES)}")
    if positions not in ("shared", "tiled"):
        raise UsageError(f"Unknown positions {positions!r}. {suggest(positions, ('shared', 'tiled'))}")
    names = list(modalities)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"An encoder needs at least one modality, each once; got: {', '.join(names) or 'none'}.")
