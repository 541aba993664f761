"""Training under levers: what a backward pass needs of them stays until it is done."""
import mm
from mm.reweight import VAR
from tests.law.test_steer_generate import family


def test_the_attention_of_a_steered_model_goes_back_when_its_backward_pass_is_done() -> None:
    toy = family("llava")
    model, inputs = toy.model().train(), toy.inputs(["ssIqqq"])
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with mm.steer(model, reweight=[VAR((3, 11), threshold=2.0)]):
        loss = model(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()
    del loss
    assert model.config.text_config._attn_implementation == "sdpa"
    assert not any(module._forward_pre_hooks for module in model.modules())
