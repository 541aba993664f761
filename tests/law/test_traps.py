"""Traps of long-context attention, as far as they apply to what there is: each is held by a test, here or where its subject is tested.

 1 LSE of an empty row                        tests/law/test_attention.py::test_row_that_sees_nothing_is_zero_and_minus_infinity
                                              tests/law/test_backends.py::test_a_row_that_sees_nothing_is_an_empty_part_in_tiles
 2 a rank without labels                      tests/law/test_training_loss.py::test_no_label_is_zero_loss_and_zero_gradient_not_nan
 3 the first token of each suffix             here, tests/law/test_models.py::test_each_branch_is_worth_its_own_sample
 4 positions of a suffix                      tests/law/test_positions.py::test_restart_goes_on_behind_the_trunk_for_each_branch
 7 a partial block marked full                tests/law/test_visibility.py::test_what_is_said_of_blocks_holds_for_every_pair_in_them
13 a majority vote empties DMA's mask         tests/law/test_dma.py::test_a_majority_in_no_block_leaves_the_block_of_the_strongest_key
                                              tests/law/test_dma.py::test_no_row_is_left_with_nothing
14 sinks and windows count the token itself   tests/law/test_masks.py::test_a_window_counts_the_token_itself_and_sinks_count_from_the_document
15 LSE in low precision                       here, tests/law/test_attention.py::test_gradient_of_the_lse_is_not_rounded_to_the_output_dtype
18 flex attention has no backward on a CPU    tests/law/test_backends.py::test_refusals_say_why
The others belong to methods that are not here: retrieval scores (5), FlexPrefill (6), head policies (8, 9), Landmark (10), routing (11), NTK
attention (12), TokenSelect (16), BiFormer (17).
"""
import pytest
import torch

from mm.attention import attend
from mm.models import Branches
from tests.toys import random_qkv
from tests.vlms import about, toy


def test_trap_03_the_first_token_of_every_answer_is_predicted_by_its_own_question() -> None:
    """The row before it belongs to its branch, so no answer is predicted by another one's end."""
    vlm = toy(layout=Branches())
    rows = [vlm.processor.encode(about(seed, ("is there a star ?", "yes"), ("is there a ring ?", "no ."))) for seed in range(2)]
    made = vlm.processor.collate(rows)
    branch, at = made.tokens.branch.flatten(), made.predict_at
    assert {1, 2} <= set(branch[at].tolist())
    assert torch.equal(branch[at], branch[at + 1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_trap_15_the_lse_is_float32_whatever_the_inputs(dtype: torch.dtype) -> None:
    q, k, v = random_qkv(queries=5, keys=300, dtype=dtype)
    part = attend(q, k, v, need_lse=True)
    assert part.lse is not None
    assert part.lse.dtype == torch.float32
    wanted = (q.double() @ k.double().repeat_interleave(2, 1).transpose(-1, -2) * 8**-0.5).logsumexp(-1)
    torch.testing.assert_close(part.lse.double(), wanted, rtol=0, atol=1e-4 if dtype == torch.float16 else 1e-3)
