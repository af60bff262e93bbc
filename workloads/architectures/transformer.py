"""Transformers: vision transformers, BERT, and decoders of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.architectures.layers import add, conv, dense, layer_norm, softmax, table
from workloads.attention import attention
from workloads.builder import GraphBuilder
from workloads.operators import (
    NO_CLAMP,
    Add,
    Concat,
    Embedding,
    FullyConnected,
    Gelu,
    Mul,
    Pad,
    Reshape,
    RmsNorm,
    Slice,
    Swish,
)

if TYPE_CHECKING:
    from workloads.graph import Graph

GELU = Gelu()


def vit_base(patch: int = 16, pixels: int = 224) -> Graph:
    """ViT-Base; the class token is folded into its position's embedding.

    References
    ----------
    .. [1] A. Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, table 1.
    """
    net = GraphBuilder("vit_base")
    x = conv(net, net.input("image", (1, pixels, pixels, 3)), 768, patch, patch, 0, NO_CLAMP)
    patches = (pixels // patch) ** 2
    x = net.layer(Reshape(), (x,), shape=(1, patches, 768))
    x = net.layer(Pad(((0, 0), (1, 0), (0, 0))), (x,))
    x = net.layer(Add(), (x, table(net, "positions", (1, patches + 1, 768))))
    for _ in range(12):
        x = add(net, x, _attended(net, layer_norm(net, x)))
        x = add(net, x, dense(net, dense(net, layer_norm(net, x), 3072, GELU), 768))
    first = net.layer(Slice(1, 0, 1), (layer_norm(net, x),))
    first = net.layer(Reshape(), (first,), shape=(1, 768))
    return net.build([softmax(net, dense(net, first, 1000))])


def bert_base(tokens: int = 512) -> Graph:
    """BERT-Base (uncased) with the two outputs per token of question answering.

    The mask is 0 where there is a token and far below where there is none.

    References
    ----------
    .. [1] J. Devlin et al., "BERT", NAACL 2019, section 3.
    """
    net = GraphBuilder("bert_base")
    words = net.input("input_ids", (1, tokens), "int32")
    kinds = net.input("token_type_ids", (1, tokens), "int32")
    mask = net.input("attention_mask", (1, 1, 1, tokens))
    rows = [
        net.layer(Embedding(), (indices, table(net, name, (count, 768))), dtype="float32")
        for indices, name, count in ((words, "words", 30522), (kinds, "kinds", 2))
    ]
    x = net.layer(Add(), (add(net, rows[0], rows[1]), table(net, "positions", (1, tokens, 768))))
    x = layer_norm(net, x, 1e-12)
    for _ in range(12):
        x = layer_norm(net, add(net, x, _attended(net, x, mask)), 1e-12)
        x = layer_norm(net, add(net, x, dense(net, dense(net, x, 3072, GELU), 768)), 1e-12)
    return net.build([dense(net, x, 2)])


@dataclass(frozen=True)
class Decoder:
    """The extents of a decoder of the Llama kind.

    Parameters
    ----------
    groups
        Heads of keys and values.
    biased
        Query, key and value have biases.
    tied
        The last product shares its weights with the embedding, which is stored once.
    """

    layers: int
    width: int
    heads: int
    groups: int
    hidden: int
    words: int
    biased: bool = False
    tied: bool = False


DECODERS = {
    "tinyllama_1.1b": Decoder(22, 2048, 32, 4, 5632, 32000),
    "qwen2.5_0.5b": Decoder(24, 896, 14, 2, 4864, 151936, biased=True, tied=True),
    "qwen2.5_1.5b": Decoder(28, 1536, 12, 2, 8960, 151936, biased=True, tied=True),
    "qwen2.5_3b": Decoder(36, 2048, 16, 2, 11008, 151936, biased=True, tied=True),
}


def _attended(net: GraphBuilder, x: str, mask: str | None = None) -> str:
    """Add attention of twelve heads of 64 and its projection."""
    query, key, value = (dense(net, x, 768) for _ in range(3))
    return dense(net, attention(net, query, key, value, 12, mask), 768)


def decoder(name: str, tokens: int = 1, past: int = 0) -> Graph:
    """Return a decoder of text that reads ``tokens`` at once behind ``past`` ones whose keys and values are inputs.

    Logits are made of the last token only. All positions are attended: the mask of later ones saves no work.

    References
    ----------
    .. [1] P. Zhang et al., "TinyLlama", arXiv:2401.02385, table 1; Qwen team, "Qwen2.5 technical report",
       arXiv:2412.15115; extents as the models' config.json.
    """
    extents = DECODERS[name]
    net = GraphBuilder(name)
    words = table(net, "words", (extents.words, extents.width))
    x = net.layer(Embedding(), (net.input("tokens", (1, tokens), "int32"), words), dtype="float32")
    for _ in range(extents.layers):
        x = add(net, x, _cached(net, _rms_norm(net, x), extents, past))
        inner = _rms_norm(net, x)
        gate = dense(net, inner, extents.hidden, Swish(), biased=False)
        inner = net.layer(Mul(), (gate, dense(net, inner, extents.hidden, biased=False)))
        x = add(net, x, dense(net, inner, extents.width, biased=False))
    last = net.layer(Slice(1, tokens - 1, 1), (_rms_norm(net, x),)) if tokens > 1 else _rms_norm(net, x)
    logits = (
        net.layer(FullyConnected(), (last, words)) if extents.tied else dense(net, last, extents.words, biased=False)
    )
    return net.build([logits])


def _cached(net: GraphBuilder, x: str, extents: Decoder, past: int) -> str:
    """Add attention over past and present keys and values, and its projection."""
    depth = extents.width // extents.heads
    query = _rotated(net, dense(net, x, extents.width, biased=extents.biased), depth)
    sides = [dense(net, x, extents.groups * depth, biased=extents.biased) for _ in range(2)]
    sides[0] = _rotated(net, sides[0], depth)
    if past:
        shape = (1, past, extents.groups * depth)
        before = [net.input(net.unused(kind), shape) for kind in ("past_keys", "past_values")]
        sides = [net.layer(Concat(1), pair) for pair in zip(before, sides, strict=True)]
    mixed = attention(net, query, sides[0], sides[1], extents.heads)
    return dense(net, mixed, extents.width, biased=False)


def _rotated(net: GraphBuilder, x: str, depth: int) -> str:
    """Rotate pairs of channels of every head by angles that depend on the position.

    References
    ----------
    .. [1] J. Su et al., "RoFormer: enhanced transformer with rotary position embedding", arXiv:2104.09864.
    """
    batch, tokens, width = shape = net.tensors[x].shape
    split = net.layer(Reshape(), (x,), shape=(batch, tokens, width // depth, depth))
    low, high = (net.layer(Slice(3, begin, depth // 2), (split,)) for begin in (0, depth // 2))
    swapped = net.layer(Concat(3), (high, low))
    name = net.unused(f"angles{len(net.layers)}")
    sines, cosines = (table(net, f"{name}/{kind}", (1, tokens, 1, depth)) for kind in ("sine", "cosine"))
    turned = [net.layer(Mul(), pair) for pair in ((split, cosines), (swapped, sines))]
    return net.layer(Reshape(), (net.layer(Add(), turned),), shape=shape)


def _rms_norm(net: GraphBuilder, x: str) -> str:
    """Add a root-mean-square normalisation."""
    name = net.unused(f"norm{len(net.layers)}")
    return net.layer(RmsNorm(), (x, table(net, f"{name}/scale", net.tensors[x].shape[-1:])), output=name)
