"""A pretrained decoder, by name or local path."""
import os

from transformers import AutoModelForCausalLM

from mm.language.base import Language, torch_dtype
from mm.language.tokenizer import SavedTokenizer, first_line


class Pretrained(Language):
    """Any causal LM of the hub or of a local folder, with its tokenizer and chat template.

    Args:
        name: "Qwen/Qwen3-1.7B", or a folder. Weights are read from safetensors only.
        dtype: of the weights, e.g. "bfloat16"; float32 if None, which training in mixed precision wants.
        chat_template: a Jinja template in place of the tokenizer's own, e.g. where that one rewrites earlier answers.
        trust_remote_code: run code that comes with the model. Never on by itself.
    """

    def __init__(self, name: str, dtype: str | None = None, gradient_checkpointing: bool = False, compile_blocks: bool = False,
                 chat_template: str | None = None, trust_remote_code: bool = False) -> None:
        self_dtype = torch_dtype(dtype)
        tokenizer = SavedTokenizer(name).load()
        try:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=self_dtype, use_safetensors=True, trust_remote_code=trust_remote_code)
        except (OSError, ValueError) as error:
            hint = "it is not on disk and HF_HUB_OFFLINE forbids a download" if os.environ.get("HF_HUB_OFFLINE") == "1" and not os.path.isdir(name) \
                else "give the name of a causal LM with safetensors weights, or a folder that holds config.json and model.safetensors"
            raise ValueError(f"no language model {name!r}: {first_line(error)} ({hint})") from error
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        super().__init__(model, tokenizer, gradient_checkpointing, compile_blocks)
        self.name = name
        self.dtype = dtype
        self.chat_template = chat_template
        self.trust_remote_code = trust_remote_code
