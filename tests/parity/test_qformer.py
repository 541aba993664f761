"""The Q-Former against recorded outputs of transformers, and against transformers itself."""
import json

import torch

from mm.streams import QFormer
from mm.streams.qformer import QueryTransformer, from_blip2
from tests.golden import close, load, weights


def test_the_transformer_is_blip_2_s_with_padding_of_the_picture() -> None:
    case = load("projectors", "qformer")
    cfg = json.loads(case.cfg)
    body = QueryTransformer(cfg["hidden"], cfg["enc"], cfg["layers"], cfg["heads"], cfg["inter"], cfg["freq"], 0.0).eval()
    renamed = from_blip2({f"qformer.{name}": value for name, value in weights(case).items()})
    body.load_state_dict({name.removeprefix("body."): value for name, value in renamed.items()})
    with torch.no_grad():
        found = body(case.query, case.encoder, case.encoder_mask.bool()[:, None, None])
    close(found, case.y)


def test_a_model_of_transformers_loads_whole_and_gives_the_same_tokens() -> None:
    from transformers import Blip2QFormerConfig, Blip2QFormerModel

    torch.manual_seed(0)
    config = Blip2QFormerConfig(hidden_size=12, num_hidden_layers=3, num_attention_heads=3, intermediate_size=20, encoder_hidden_size=8)
    theirs, language = Blip2QFormerModel(config).eval(), torch.nn.Linear(12, 10)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    query, x = torch.randn(1, 5, 12), torch.randn(2, 6, 8)
    stored = {"query_tokens": query, "vision_model.layer": torch.zeros(1)}
    stored |= {f"qformer.{name}": value for name, value in theirs.state_dict().items()}
    stored |= {f"language_projection.{name}": value for name, value in language.state_dict().items()}
    ours = QFormer(8, 10, queries=5, width=12, depth=3, heads=3, intermediate=20).eval()
    ours.load_state_dict(from_blip2(stored))
    with torch.no_grad():
        wanted = language(theirs(query_embeds=query.expand(2, -1, -1), encoder_hidden_states=x).last_hidden_state)
        close(ours(x, (2, 3)), wanted)
    assert torch.equal(from_blip2({f"model.{name}": value for name, value in stored.items()})["query"], query[0])
