"""A judge on disk: a causal LM of transformers."""
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from jinja2 import TemplateError

from eval.judges.base import Judge, JudgeError
from mm.language import Pretrained, SavedTokenizer
from mm.language.chat import Chat


class Local(Judge):
    """Greedy replies of the model in a folder; its weights are read from safetensors only, and no code that comes with it is run.

    It is loaded when it is first asked. Prompts are put into its chat template, "USER: ... ASSISTANT:" where it has none.

    Args:
        path: folder with config.json, safetensors and tokenizer.json.
        system: text before every prompt. max_tokens: of a reply.
        batch_size: prompts a batch, of similar length. dtype: of the weights, like "bfloat16". device: cpu, cuda ...
    """

    def __init__(
        self, path: str, system: str = "", max_tokens: int = 256, batch_size: int = 8, dtype: str | None = None, device: str = "cpu",
    ) -> None:
        self.path = path
        self.system = system
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self.dtype = dtype
        self.device = device

    @cached_property
    def name(self) -> str:
        """With a fingerprint of the weights, so that verdicts of others are not taken for its own."""
        from eval.frame.model import fingerprint

        return f"{Path(self.path).resolve().name} ({fingerprint(Path(self.path))})"

    def check(self) -> None:
        if not (Path(self.path) / "config.json").is_file() or not any(Path(self.path).glob("*.safetensors")):
            raise ValueError(f"no judge in {self.path!r}: expected a folder with config.json, *.safetensors and tokenizer.json of a causal LM")

    @torch.inference_mode()
    def ask(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Longest prompts first, so that what does not fit into memory shows at once."""
        self.check()
        chat = Chat(SavedTokenizer(self.path).read())  # as it was saved: a picture's placeholder in an answer is text to it
        model = self._language.model
        end = int(chat.tokenizer.eos_token_id)
        rows = [self._row(chat, prompt) for prompt in prompts]
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        for start in range(0, len(order), self.batch_size):
            part = order[start:start + self.batch_size]
            length = max(len(rows[index]) for index in part)
            ids = torch.tensor([[end] * (length - len(rows[index])) + rows[index] for index in part], device=self.device)
            real = torch.tensor([[0] * (length - len(rows[index])) + [1] * len(rows[index]) for index in part], device=self.device)
            said = model.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=real, max_new_tokens=self.max_tokens, do_sample=False, eos_token_id=chat.stop_ids, pad_token_id=end)
            yield from zip(part, (text.strip() for text in chat.tokenizer.batch_decode(said[:, length:], skip_special_tokens=True)), strict=True)

    def _row(self, chat: Chat, prompt: str) -> list[int]:
        try:
            text = chat.render(self.system, ((prompt, ""),), reply=True)
        except TemplateError as error:
            raise JudgeError(f"the chat template of the judge {self.name} refuses the prompt ({error}); leave out its system text") from error
        ids: list[int] = chat.tokenizer(text, add_special_tokens=False).input_ids
        known = int(self._language.model.get_input_embeddings().num_embeddings)  # type: ignore[union-attr, arg-type]
        if max(ids, default=0) >= known:
            raise JudgeError(f"the tokenizer of the judge {self.name} writes token {max(ids)}, and its model knows {known}; take a folder whose "
                             "tokenizer fits its model")
        limit = int(getattr(self._language.config, "max_position_embeddings", 0)) or 2**20
        if len(ids) + self.max_tokens > limit:
            raise JudgeError(f"the judge {self.name} takes {limit} tokens, and a prompt has {len(ids)} with {self.max_tokens} to come (max_tokens); "
                             "let answers be shorter (max_new_tokens), or take a judge with a longer context")
        return ids

    @cached_property
    def _language(self) -> Pretrained:
        return Pretrained(self.path, self.dtype).to(self.device).eval()
