"""How often each kind of question is asked."""
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Mix:
    """Shares of the question kinds, normalised to one. They hold over the data set: a scene that cannot host a kind is asked another instead,
    and scenes that can are asked it accordingly more often (`data.world.questions.odds`)."""

    existence: float = 0.5
    pair: float = 0.15
    attribute: float = 0.2
    number: float = 0.05
    relation: float = 0.1
    conjunction: float = 0.0

    def __post_init__(self) -> None:
        if min(self.shares().values()) < 0 or sum(self.shares().values()) <= 0:
            raise ValueError(f"the shares of a question mix are non-negative and not all zero, got {self}")

    def shares(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def only(task: str) -> "Mix":
        """A mix that asks one kind of question."""
        return Mix(**{field.name: float(field.name == task) for field in fields(Mix)})
