"""Directories as users have them, a few kilobytes each: a pretrained vision-language model with its processor, and a model of `mm`."""
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPImageProcessor, LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

from tests.families import BOS, FAMILIES, IMAGE, PAD, VOCABULARY
from tests.vlms import toy

SPECIAL = {PAD: "<pad>", BOS: "<s>", 2: "</s>", IMAGE: "<image>", 4: "<unk>"}
WORDS = ["USER", "ASSISTANT", ":", "?", ".", "Is", "there", "a", "star", "in", "the", "picture", "yes", "no", "What", "do", "you", "see"]
TEMPLATE = """{% for message in messages %}{{ 'USER:' if message['role'] == 'user' else ' ASSISTANT:' }}\
{% for part in message['content'] %}{{ ' <image>' if part['type'] == 'image' else ' ' + part['text'] }}{% endfor %}{% endfor %}\
{% if add_generation_prompt %} ASSISTANT:{% endif %}"""


def llava_directory(path: Path) -> Path:
    """What `from_pretrained` of AutoProcessor and AutoModelForImageTextToText load: LLaVA with 2 x 2 image tokens and fresh weights."""
    config = FAMILIES["llava"].config()
    config.text_config.num_hidden_layers = 4
    config.text_config.eos_token_id = 2
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.update(pad_token_id=PAD, bos_token_id=BOS, eos_token_id=2)
    model.save_pretrained(path)
    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    LlavaProcessor(images, tokenizer(), patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1,
                   chat_template=TEMPLATE).save_pretrained(path)
    return path


def tokenizer() -> PreTrainedTokenizerFast:
    """Words as tokens, as many as the toys' vocabulary has."""
    names = dict(SPECIAL)
    free = (id for id in range(VOCABULARY) if id not in SPECIAL)
    for id, word in zip(free, WORDS + [f"word{i}" for i in range(VOCABULARY)], strict=False):
        names[id] = word
    words = Tokenizer(models.WordLevel({word: id for id, word in names.items()}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   extra_special_tokens={"image_token": "<image>"})


def vlm_directory(path: Path) -> Path:
    """What `mm.VLM.load` loads."""
    toy().save(path)
    return path
