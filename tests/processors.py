"""The toys of `tests.families` with processors of their own families, as directories that users would have: fresh weights, a tokenizer of words."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.families import BOS, CLIP, END, FAMILIES, FENCE, IMAGE, PAD, PINPOINTS, START, TILE, VOCABULARY, WHOLE

EOS, UNKNOWN = 2, 9
FIRST_WORD = TILE + 36  # behind the tags of tiles
WORDS = ["USER", "ASSISTANT", "SYSTEM", ":", "?", ".", "Is", "there", "a", "star", "ring", "moon", "in", "the", "picture", "yes", "no", "What", "do",
         "you", "see", "be", "brief", "and"]
WITH_CLIPS = tuple(name for name, family in FAMILIES.items() if family.clip is not None or name in ("internvl", "smolvlm"))
TEMPLATE = """{% for message in messages %}{{ {'user': ' USER:', 'assistant': ' ASSISTANT:', 'system': ' SYSTEM:'}[message['role']] }}\
{% for part in message['content'] %}{{ ' IMAGE' if part['type'] == 'image' else ' CLIP' if part['type'] == 'video' else ' ' + part['text'] }}\
{% endfor %}{% if message['role'] == 'assistant' %}</s>{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"""


def tokenizer(names: dict[int, str], **extra: str) -> PreTrainedTokenizerFast:
    """names: special tokens of the family by id. extra: which of them plays which part."""
    found = {PAD: "<pad>", BOS: "<s>", EOS: "</s>", UNKNOWN: "<unk>", **names}
    found |= {FIRST_WORD + place: word for place, word in enumerate(WORDS)}
    found |= {id: f"word{id}" for id in range(VOCABULARY) if id not in found}
    words = Tokenizer(models.WordLevel({word: id for id, word in found.items()}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B:1", special_tokens=[("<s>", BOS)])
    others = {f"special_{id}": name for id, name in names.items() if name not in extra.values()}
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", extra_special_tokens={**extra, **others})


def template(image: str, clip: str = "<video>") -> str:
    return TEMPLATE.replace("IMAGE", image).replace("CLIP", clip)


def _llava(kind: type, images: Any) -> Any:
    return kind(images, tokenizer({IMAGE: "<image>"}, image_token="<image>"), patch_size=4, vision_feature_select_strategy="default",
                num_additional_image_tokens=1, chat_template=template("<image>"))


def _onevision() -> Any:
    images = hf.LlavaOnevisionImageProcessor(size={"height": 8, "width": 8}, image_grid_pinpoints=PINPOINTS)
    clips = hf.LlavaOnevisionVideoProcessor(size={"height": 8, "width": 8})
    words = tokenizer({IMAGE: "<image>", CLIP: "<video>"}, image_token="<image>", video_token="<video>")
    return hf.LlavaOnevisionProcessor(images, words, clips, num_image_tokens=4, vision_feature_select_strategy="full",
                                      vision_aspect_ratio="anyres_max_2", chat_template=template("<image>"))


def _qwen(kind: type, clips: type) -> Any:
    names = {IMAGE: "<|image_pad|>", CLIP: "<|video_pad|>", START: "<|vision_start|>", END: "<|vision_end|>"}
    sizes: dict[str, Any] = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2, "size": {"shortest_edge": 64, "longest_edge": 256}}
    fenced = ("<|vision_start|>" + names[IMAGE] + "<|vision_end|>", "<|vision_start|>" + names[CLIP] + "<|vision_end|>")
    return kind(hf.Qwen2VLImageProcessor(**sizes), tokenizer(names), clips(**sizes), chat_template=template(*fenced))


def _internvl() -> Any:
    names = {IMAGE: "<IMG_CONTEXT>", START: "<img>", END: "</img>", CLIP: "<video>"}
    words = tokenizer(names, start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>")
    side = {"height": 8, "width": 8}
    return hf.InternVLProcessor(hf.GotOcr2ImageProcessor(size=side, crop_to_patches=True, max_patches=3), words, hf.InternVLVideoProcessor(size=side),
                                image_seq_length=4, chat_template=template("<IMG_CONTEXT>"))


def _idefics_tokenizer() -> PreTrainedTokenizerFast:
    tags = {TILE + 6 * row + col: f"<row_{row + 1}_col_{col + 1}>" for row in range(6) for col in range(6)}
    names = {IMAGE: "<image>", CLIP: "<video>", START: "<end_of_utterance>", FENCE: "<fake_token_around_image>", WHOLE: "<global-img>"}
    return tokenizer(names | tags)


def _idefics3() -> Any:
    images = hf.Idefics3ImageProcessor(size={"longest_edge": 16}, max_image_size={"longest_edge": 8})
    return hf.Idefics3Processor(images, _idefics_tokenizer(), image_seq_len=4, chat_template=template("<image>"))


def _smolvlm() -> Any:
    images = hf.SmolVLMImageProcessor(size={"longest_edge": 16}, max_image_size={"longest_edge": 8})
    clips = hf.SmolVLMVideoProcessor(size={"longest_edge": 8}, max_image_size={"longest_edge": 8})
    return hf.SmolVLMProcessor(images, _idefics_tokenizer(), clips, image_seq_len=4, chat_template=template("<image>"))


def _paligemma() -> Any:
    images = hf.SiglipImageProcessor(size={"height": 8, "width": 8}, image_seq_length=4)
    return hf.PaliGemmaProcessor(images, tokenizer({IMAGE: "<image>"}, image_token="<image>"))


def _gemma3() -> Any:
    names = {IMAGE: "<image_soft_token>", START: "<start_of_image>", END: "<end_of_image>"}
    words = tokenizer(names, image_token=names[IMAGE], boi_token=names[START], eoi_token=names[END])
    return hf.Gemma3Processor(hf.Gemma3ImageProcessor(size={"height": 16, "width": 16}), words, image_seq_length=4,
                              chat_template="<s>" + template("<start_of_image>"))


CROP: dict[str, Any] = {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}}
PROCESSORS: dict[str, Callable[[], Any]] = {
    "llava": lambda: _llava(hf.LlavaProcessor, hf.CLIPImageProcessor(**CROP)),
    "llava_next": lambda: _llava(hf.LlavaNextProcessor, hf.LlavaNextImageProcessor(**CROP, image_grid_pinpoints=PINPOINTS)),
    "llava_onevision": _onevision,
    "qwen2_vl": lambda: _qwen(hf.Qwen2VLProcessor, hf.Qwen2VLVideoProcessor),
    "qwen2_5_vl": lambda: _qwen(hf.Qwen2_5_VLProcessor, hf.Qwen2VLVideoProcessor),
    "qwen3_vl": lambda: _qwen(hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor),
    "internvl": _internvl, "idefics3": _idefics3, "smolvlm": _smolvlm, "paligemma": _paligemma, "gemma3": _gemma3}


def directory(name: str, path: Path, seed: int = 0) -> Path:
    """What `from_pretrained` of AutoModelForImageTextToText and AutoProcessor load."""
    FAMILIES[name].model(seed).save_pretrained(path)
    PROCESSORS[name]().save_pretrained(path)
    return path
