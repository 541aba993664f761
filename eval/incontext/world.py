"""Episodes of the procedural world under every control, chosen so that copying is right exactly half of the time."""
from collections.abc import Sequence

from data.world import Episodes
from eval.incontext.episode import Control, Prompted

SPARE = 8  # times as many episodes are looked at as are needed


def load(size: int, seed: int, demos: Sequence[int], controls: Sequence[Control]) -> list[Prompted]:
    """`size` test episodes, each under every control. On half of them, up to one, the answer is the label of the last demonstration."""
    views = {control: Episodes("test", SPARE * size + SPARE, seed, tuple(demos), control) for control in controls}
    found = []
    for index in balanced(Episodes("test", SPARE * size + SPARE, seed, tuple(demos)), size):
        for control, view in views.items():
            episode, turn = view.episode(index), view[index].turns[0]
            found.append(Prompted(
                view.name(index), episode.attribute, control, lambda view=view, index=index: view[index].media,  # type: ignore[misc]
                turn.question, episode.answer, tuple(sorted(episode.rule.values())), episode.demonstrations[-1].label))
    return found


def balanced(episodes: Episodes, size: int) -> list[int]:
    """The first episodes, without those too many of a kind: the answer is the last demonstration's label, or it is not."""
    left = {True: (size + 1) // 2, False: size // 2}
    chosen = []
    for index in range(len(episodes)):
        episode = episodes.episode(index)
        copied = episode.answer == episode.demonstrations[-1].label
        if left[copied]:
            left[copied] -= 1
            chosen.append(index)
        if len(chosen) == size:
            break
    return chosen
