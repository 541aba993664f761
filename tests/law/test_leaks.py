"""No mask shows a token its own label: changing an answer changes nothing before it, in any layout, whatever a template writes behind answers."""
import numpy as np
import pytest
import torch
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from mm.language import Fresh, WordLevel
from mm.masks import Mask
from mm.models import VLM, Branches, Dialogue, Layout
from mm.positions import Positions
from mm.sample import Media, Sample, Turn
from mm.streams import MLP
from mm.tokens import Role
from mm.vision import ConvViT
from tests.levers import FEW, each

CHATTY = ("{% for m in messages %}{% if m.role == 'user' %}<user> {{ m.content }} <assistant>"
          "{% elif m.role == 'assistant' %} {{ m.content }} <eos>{{ '\\n' }}{% endif %}{% endfor %}")  # as most templates end an answer


def model(mask: Mask, positions: Positions, layout: Layout) -> VLM:
    torch.manual_seed(0)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
              "num_key_value_heads": 2}
    encoder, decoder = ConvViT(image_size=32, width=32, depth=1), Fresh(config, WordLevel(["is", "it", "red", "big", "yes", "no", "maybe", "\n"]))
    decoder.tokenizer.chat_template = CHATTY
    decoder.tokenizer.backend_tokenizer.pre_tokenizer = Split(Regex(r"\w+|[^\w\s]|\n"), behavior="removed", invert=True)
    vlm = VLM(encoder, MLP(encoder.width, decoder.width), decoder, mask, positions, layout)
    with torch.no_grad():
        for parameter in vlm.language.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return vlm.eval()


@pytest.mark.parametrize("layout", [Dialogue(), Branches()], ids=lambda layout: type(layout).__name__)
@pytest.mark.parametrize(("mask", "positions"), each(FEW))
def test_changing_an_answer_changes_nothing_before_it(mask: Mask, positions: Positions, layout: Layout) -> None:
    vlm = model(mask, positions, layout)
    picture = Media(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8))

    def hidden(answer: str, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        answers = ["yes", "no", "yes"]
        answers[index] = answer
        turns = tuple(Turn(q, a) for q, a in zip(("<image>is it red", "is it big", "is it"), answers, strict=True))
        batch = vlm.processor.collate([vlm.processor.encode(Sample("leak", (picture,), turns))])
        with torch.no_grad():
            return vlm.hidden(batch), batch.input_ids[0], batch.tokens.role[0]

    for index in range(3):
        before, ids, role = hidden("maybe", index)
        after, changed, _ = hidden("no" if index != 1 else "yes", index)
        first = int((ids != changed).nonzero()[0])
        assert role[first] == Role.ANSWER
        torch.testing.assert_close(before[:, :first], after[:, :first], rtol=0, atol=1e-5)
        assert (before[:, first] - after[:, first]).abs().max() > 1e-3
