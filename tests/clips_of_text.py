"""Folders of CLIPs as users have them, a few kilobytes each, with fresh weights."""
import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast

WORDS = ["<start>", "<end>", "<unk>", "a", "cat", "dog", "on", "mat", "red", "blue", "circle", "square", "left", "of"]
OPEN_CLIP = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
             "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}


def clip_directory(path: Path) -> Path:
    """What `mm.diffusion.metrics.TransformersCLIP` loads."""
    torch.manual_seed(0)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": len(WORDS),
            "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(path)
    words = Tokenizer(models.WordLevel({word: id for id, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<start>", eos_token="<end>", pad_token="<end>", unk_token="<unk>",
                                        model_max_length=16)
    CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}), tokenizer).save_pretrained(path)
    return path


def open_clip_directory(path: Path) -> Path:
    """What `mm.diffusion.metrics.OpenCLIP` loads."""
    path.mkdir(parents=True)
    torch.manual_seed(0)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP, "preprocess_cfg": {"mean": mean, "std": std}}))
    vision, text = OPEN_CLIP["vision_cfg"], OPEN_CLIP["text_cfg"]
    save_file(open_clip.CLIP(16, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**text)).state_dict(), path / "open_clip_model.safetensors")
    return path
