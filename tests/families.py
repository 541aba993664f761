"""A toy of every family of pretrained vision-language models, and prompts for it as the family's processor lays them out.

A prompt is a string, a letter a token of text, but for I, an image, and V, a clip: "ssIqq", "IIq", "qq". What a letter becomes depends on its own
prompt only, so that a prompt is the same alone and in a batch.
"""
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor

# Before, its attention repeated the keys of grouped queries for a single query too, where ours and its own later ones share them: equal but for
# rounding.
SHARES_KEYS = tuple(map(int, hf.__version__.split(".")[:2])) >= (5, 23)
VOCABULARY = 96
PAD, BOS, IMAGE, CLIP, START, END, FENCE, WHOLE, BREAK, TILE, TEXT = 0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 20  # TILE + i is the tag of tile i
DECODER: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 512, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": None}
TOWER: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
CLIP_TOWER = {"model_type": "clip_vision_model"}
SIGLIP_TOWER = {"model_type": "siglip_vision_model", "vision_use_head": False}
MULTIMODAL = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


@dataclass
class Piece:
    """What one image or clip contributes: ids, and pixels and sizes by the name of the model's argument."""

    ids: list[int]
    arrays: dict[str, Tensor]


Make = Callable[[torch.Generator, int, int], Piece]  # (generator, ordinal of the medium in its prompt, images of the prompt) → Piece


@dataclass(frozen=True)
class Family:
    """name: its model_type. model: a toy with fresh weights that matter, float32, evaluation mode. image, clip: what I and V become."""

    name: str
    config: Callable[[], hf.PreTrainedConfig]
    image: Make
    clip: Make | None = None

    def model(self, seed: int = 0, implementation: str = "sdpa") -> hf.PreTrainedModel:
        torch.manual_seed(seed)
        model = hf.AutoModelForImageTextToText.from_config(self.config(), attn_implementation=implementation).eval()
        model.generation_config = hf.GenerationConfig(pad_token_id=PAD, bos_token_id=BOS)
        with torch.no_grad():
            for name, parameter in model.named_parameters():  # fresh weights are so small that attention is nearly uniform; tests want it to matter
                if parameter.dim() == 2:
                    torch.nn.init.normal_(parameter, std=0.1 if "embed" in name else 0.4)
        return model

    def inputs(self, prompts: Sequence[str], left: bool = True) -> dict[str, Any]:
        """What the family's processor would make of the prompts, padded on the left, or on the right."""
        rows = [self._row(prompt) for prompt in prompts]
        length = max(len(ids) for ids, _ in rows)
        filled = [torch.tensor(ids) for ids, _ in rows]

        def padded(tables: list[Tensor]) -> Tensor:
            gaps = [(length - len(table), 0) if left else (0, length - len(table)) for table in tables]
            return torch.stack([torch.nn.functional.pad(table, gap) for table, gap in zip(tables, gaps, strict=True)])

        inputs: dict[str, Any] = {"input_ids": padded(filled), "attention_mask": padded([torch.ones_like(table) for table in filled])}
        for name in dict.fromkeys(name for _, pieces in rows for piece in pieces for name in piece.arrays):
            inputs[name] = self._stacked([[piece.arrays[name] for piece in pieces if name in piece.arrays] for _, pieces in rows])
        ids = inputs["input_ids"]
        if self.name.startswith("qwen"):
            inputs["mm_token_type_ids"] = (ids == IMAGE).long() + 2 * (ids == CLIP).long()
        if self.name == "gemma3":
            inputs["token_type_ids"] = (ids == IMAGE).long()
        if self.name == "paligemma":
            inputs["token_type_ids"] = torch.zeros_like(ids)
        if self.name == "llava_onevision" and "pixel_values" in inputs:
            inputs["batch_num_images"] = torch.tensor([prompt.count("I") for prompt in prompts if "I" in prompt])
        return inputs

    def _row(self, prompt: str) -> tuple[list[int], list[Piece]]:
        generator = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
        ids, pieces = [], []
        for letter in prompt:
            if letter in "IV":
                make = self.image if letter == "I" else self.clip
                assert make is not None, f"{self.name} has no clips"
                pieces.append(make(generator, len(pieces), prompt.count("I")))
                ids += pieces[-1].ids
            else:
                ids.append(int(torch.randint(TEXT, VOCABULARY, (), generator=generator)))
        return ids, pieces

    def _stacked(self, rows: list[list[Tensor]]) -> Tensor:
        """Media of the batch one after another; the tiles of a row side by side, filled up with zeros, for Idefics3 and SmolVLM."""
        if self.name in ("idefics3", "smolvlm"):
            tiles = [torch.cat([torch.empty(0, 3, 8, 8), *row]) for row in rows]
            return torch.nn.utils.rnn.pad_sequence(tiles, batch_first=True)
        parts = [part for row in rows for part in row]
        if parts[0].dim() == 5:  # tiles or frames of one medium, [1, n, 3, H, W]
            most = max(part.shape[1] for part in parts)
            parts = [torch.nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, most - part.shape[1])) for part in parts]
        return torch.cat(parts)


def pixels(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


# --- what an image or a clip becomes


def one_grid(count: int, *fence: int, size: int = 8) -> Make:
    """`count` placeholders for one square image, between the two tokens of `fence` if there are any."""
    return lambda generator, ordinal, images: Piece([*fence[:1], *[IMAGE] * count, *fence[1:]], {"pixel_values": pixels(generator, 1, 3, size, size)})


def next_image(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    """(8, 16) and (16, 8) fill two tiles, 2 x 4 and 4 x 2 patches; (8, 10) fills 2 x 2 of two tiles' patches."""
    size, count = [((8, 16), 10), ((16, 8), 12), ((8, 10), 6)][ordinal % 3]
    return Piece([IMAGE] * (4 + count), {"pixel_values": pixels(generator, 1, 3, 3, 8, 8), "image_sizes": torch.tensor([size])})


def onevision_image(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    """Alone, four tiles, whose 4 x 4 tokens are more than two tiles' worth, so 2 x 2 stay; among others, one tile and a newline."""
    count, tiles = (4 + 6, 5) if images == 1 else (5, 1)
    return Piece([IMAGE] * count, {"pixel_values": pixels(generator, 1, tiles, 3, 8, 8), "image_sizes": torch.tensor([[16, 16]])})


def onevision_clip(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    """Three frames of 2 x 2 patches, pooled to one token each, and the newline."""
    return Piece([CLIP] * 4, {"pixel_values_videos": pixels(generator, 1, 3, 3, 8, 8)})


def qwen_image(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    rows, cols = [(2, 3), (2, 2), (1, 2)][ordinal % 3]
    patches = pixels(generator, rows * cols * 4, 3 * 2 * 4 * 4)
    return Piece([START, *[IMAGE] * (rows * cols), END], {"pixel_values": patches, "image_grid_thw": torch.tensor([[1, 2 * rows, 2 * cols]])})


def qwen_clip(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    return Piece([START, *[CLIP] * 8, END], _qwen_frames(generator) | {"second_per_grid_ts": torch.tensor([1.0])})


def qwen2_clip(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    return Piece([START, *[CLIP] * 8, END], _qwen_frames(generator))


def qwen3_clip(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    """A timestamp of two tokens before each frame."""
    return Piece([TEXT, TEXT + 1, START, *[CLIP] * 4, END, TEXT, TEXT + 2, START, *[CLIP] * 4, END], _qwen_frames(generator))


def _qwen_frames(generator: torch.Generator) -> dict[str, Tensor]:
    return {"pixel_values_videos": pixels(generator, 2 * 16, 3 * 2 * 4 * 4), "video_grid_thw": torch.tensor([[2, 4, 4]])}


def internvl_image(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    tiles = [3, 1, 2][ordinal % 3]
    return Piece([START, *[IMAGE] * (4 * tiles), END], {"pixel_values": pixels(generator, tiles, 3, 8, 8)})


def idefics_image(generator: torch.Generator, ordinal: int, images: int) -> Piece:
    """Two rows of one tile and the whole picture, a picture that is not cut, one row of two tiles and the whole picture."""
    rows, cols = [(2, 1), (0, 0), (1, 2)][ordinal % 3]
    ids = []
    for row in range(rows):
        for col in range(cols):
            ids += [FENCE, TILE + cols * row + col, *[IMAGE] * 4]
        ids.append(BREAK)
    ids += [BREAK] * (rows > 0) + [FENCE, WHOLE, *[IMAGE] * 4, FENCE]
    return Piece(ids, {"pixel_values": pixels(generator, rows * cols + 1, 3, 8, 8)})


# --- the toys


def _qwen(kind: str, vision: dict[str, Any], rotary: dict[str, Any] = MULTIMODAL) -> Callable[[], hf.PreTrainedConfig]:
    tower = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3, **vision}
    return lambda: hf.AutoConfig.for_model(
        kind, text_config=DECODER | {"rope_parameters": dict(rotary)}, vision_config=tower, image_token_id=IMAGE, video_token_id=CLIP,
        vision_start_token_id=START, vision_end_token_id=END)


def _llava(kind: str, text: str, tower: dict[str, Any], **settings: Any) -> Callable[[], hf.PreTrainedConfig]:
    return lambda: hf.AutoConfig.for_model(
        kind, text_config=DECODER | {"model_type": text}, vision_config=TOWER | tower, image_token_index=IMAGE, **settings)


def _internvl() -> hf.PreTrainedConfig:
    tower = TOWER | {"image_size": [8, 8], "patch_size": [2, 2]}
    return hf.InternVLConfig(text_config=DECODER | {"model_type": "qwen2"}, vision_config=tower, image_token_id=IMAGE, image_seq_length=4)


def _idefics(kind: str) -> Callable[[], hf.PreTrainedConfig]:
    return lambda: hf.AutoConfig.for_model(
        kind, text_config=DECODER | {"model_type": "llama"}, vision_config=TOWER | {"patch_size": 2}, image_token_id=IMAGE, scale_factor=2)


def _paligemma() -> hf.PreTrainedConfig:
    return hf.PaliGemmaConfig(text_config=DECODER | {"model_type": "gemma", "num_key_value_heads": 1}, projection_dim=32, image_token_index=IMAGE,
                              vision_config=TOWER | SIGLIP_TOWER | {"projection_dim": 32})


def _gemma3() -> hf.PreTrainedConfig:
    text = DECODER | {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8}
    return hf.Gemma3Config(text_config=text, image_token_index=IMAGE, boi_token_index=START, eoi_token_index=END, mm_tokens_per_image=4,
                           vision_config=TOWER | SIGLIP_TOWER | {"image_size": 16})


PINPOINTS = [[8, 16], [16, 8], [16, 16]]
FAMILIES = {family.name: family for family in (
    Family("llava", _llava("llava", "llama", CLIP_TOWER), one_grid(4)),
    Family("llava_next", _llava("llava_next", "llama", CLIP_TOWER, image_grid_pinpoints=PINPOINTS), next_image),
    Family("llava_onevision", _llava("llava_onevision", "qwen2", SIGLIP_TOWER, video_token_index=CLIP, image_grid_pinpoints=PINPOINTS,
                                     vision_aspect_ratio="anyres_max_2"), onevision_image, onevision_clip),
    Family("qwen2_vl", _qwen("qwen2_vl", {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}), qwen_image, qwen2_clip),
    Family("qwen2_5_vl", _qwen("qwen2_5_vl", {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "window_size": 16,
                                              "fullatt_block_indexes": [1]}), qwen_image, qwen_clip),
    Family("qwen3_vl", _qwen("qwen3_vl", {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_position_embeddings": 16,
                                          "deepstack_visual_indexes": [0]}, MULTIMODAL | {"mrope_interleaved": True}), qwen_image, qwen3_clip),
    Family("internvl", _internvl, internvl_image),
    Family("idefics3", _idefics("idefics3"), idefics_image),
    Family("smolvlm", _idefics("smolvlm"), idefics_image),
    Family("paligemma", _paligemma, one_grid(4)),
    Family("gemma3", _gemma3, one_grid(4, START, END, size=16)))}


def assert_stock(found: Any, wanted: Any) -> None:
    """Logits of two generations are the same to the bit, as far as the installed transformers computes a decoding step as ours does."""
    a, b = torch.stack(found.logits), torch.stack(wanted.logits)
    assert torch.equal(a[0], b[0])
    torch.testing.assert_close(a, b, rtol=0, atol=0 if SHARES_KEYS else 2e-5)
