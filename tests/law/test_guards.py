"""The five guards of the program, each by its name, and the short errors of everything that users get wrong."""
import pickle
import resource
import signal
from pathlib import Path

import pytest
import torch
import yaml

from mm.training import Supervised
from mm.training.hints import suggestions
from tests.training_runs import ROOT, TOY, Ended, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    ended = run(tmp_path_factory.mktemp("trained") / "run", "--trainer.max_steps", "2", "--checkpoints.every", "1")
    assert ended.code == 0, ended.text
    return ended


def last_lines(ended: Ended) -> str:
    assert ended.code not in (0, None)
    error = ended.text[ended.text.index("error: "):]
    assert len(error.splitlines()) <= 10, error
    assert "Traceback" not in ended.text
    return error


# --- guard 1 ------------------------------------------------------------------------------------------------------------------------------------


def test_guard_1_an_override_beats_the_checkpoint(trained: Ended, tmp_path: Path) -> None:
    """Lightning 2.6 merges the checkpoint's hyper-parameters over the command line; here the mask asked for is the mask used, and the run says so."""
    def spy() -> None:
        def shown(self: Supervised) -> None:
            print(f"masks: {type(self.vlm.mask).__name__}")
        Supervised.on_validation_start = shown  # type: ignore[method-assign]

    # Ours hold none; a checkpoint with hyper-parameters, as other Lightning programs write them, is what Lightning would take the mask from.
    stored = tmp_path / "stored.ckpt"
    torch.save(trained.checkpoint | {"hyper_parameters": {"mask": {"class_path": "mm.masks.Causal"}}}, stored)
    config = ["validate", *TOY[1:], "--data.val", "data.world.Scenes", "--data.val.size", "4"]
    ended = run(tmp_path / "run", "--ckpt_path", str(stored), "--model.mask", "mm.masks.Prefix", config=config, prepare=spy)
    assert ended.code == 0, ended.text
    assert "masks: Prefix" in ended.text
    assert "not as in the checkpoint: model.mask.class_path: mm.masks.ImageBlock → mm.masks.Prefix" in ended.text


def test_guard_1_checkpoints_hold_no_hyper_parameters_to_merge(trained: Ended) -> None:
    assert "hyper_parameters" not in trained.checkpoint


# --- guard 2 ------------------------------------------------------------------------------------------------------------------------------------


def test_guard_2_parts_are_built_in_configure_model_only() -> None:
    def refuse() -> torch.nn.Module:
        raise AssertionError("built too early")

    module = Supervised(refuse, refuse, refuse, {"*": 1.0})  # type: ignore[arg-type]
    assert list(module.parameters()) == []
    with pytest.raises(AssertionError, match="too early"):
        module.configure_model()


# --- guard 3 ------------------------------------------------------------------------------------------------------------------------------------


def test_guard_3_no_argument_is_linked_to_another() -> None:
    source = (ROOT / "train.py").read_text() + "".join(path.read_text() for path in (ROOT / "mm" / "training").glob("*.py"))
    assert "link_arguments" not in source


# --- guard 4 ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "expected"), [
    (("--model.maks", "mm.masks.Causal"), "did you mean model.mask"),
    (("--trainer.max_step", "3"), "did you mean trainer.max_steps"),
    (("--model.mask", "mm.masks.Causl"), "did you mean mm.masks.Causal"),
    (("--model.mask", "mm.positions.Sequential"), "mm.masks.ImageBlock"),
    (("--model.vision.width", "x"), "width"),
    (("--config", "configs/demmo.yaml"), "configs/demo.yaml"),
])
def test_guard_4_errors_are_short_and_name_what_is_near(options: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    assert expected in last_lines(run(tmp_path / "run", *options))


def test_guard_4_a_key_that_is_wrong_in_yaml_is_named_with_the_nearest_valid_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model:\n  projektor: mm.streams.MLP\n")
    error = last_lines(run(tmp_path / "run", "--config", str(tmp_path / "mine.yaml")))
    assert "projektor" in error
    assert "did you mean model.projector" in error


def test_guard_4_suggestions_are_silent_where_nothing_is_near() -> None:
    assert suggestions("Key 'qqqqqqqq' is not expected", ["model.mask"]) == []


# --- guard 5 ------------------------------------------------------------------------------------------------------------------------------------


def test_guard_5_the_configuration_is_saved_beside_the_run_and_in_the_checkpoint(trained: Ended) -> None:
    text = (trained.folder / "config.yaml").read_text()
    stored = trained.checkpoint["mm"]
    assert stored["config"] == text
    assert yaml.safe_load(text)["model"]["mask"]["class_path"] == "mm.masks.ImageBlock"
    assert {"torch", "lightning", "python"} <= stored["versions"].keys()
    assert set(stored) == {"config", "revision", "versions"}


def test_guard_5_the_saved_configuration_trains_again(trained: Ended, tmp_path: Path) -> None:
    again = run(tmp_path / "run", config=["fit", "--config", str(trained.folder / "config.yaml")])
    assert again.code == 0, again.text
    assert [row["loss"] for row in again.rows] == [row["loss"] for row in trained.rows]


def test_guard_5_an_existing_run_directory_is_refused_unless_resuming(trained: Ended) -> None:
    error = last_lines(run(trained.folder))
    assert "--resume true" in error
    assert "--run_dir" in error


def test_guard_5_a_run_that_failed_before_it_began_blocks_no_directory(tmp_path: Path) -> None:
    failed = run(tmp_path / "run", "--model.train", "{nothing: 0.1}")
    assert failed.code != 0
    assert run(tmp_path / "run", "--trainer.max_steps", "1").code == 0


# --- what users hand in -------------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_architecture_says_what_differs(trained: Ended, tmp_path: Path) -> None:
    error = last_lines(run(tmp_path / "run", "--ckpt_path", str(trained.folder / "checkpoints" / "last.ckpt"), "--model.vision.width", "24",
                           "--model.vision.depth", "2"))
    assert "of another architecture" in error
    assert "missing: vlm.vision.blocks.1" in error
    assert "instead of" in error


def test_a_checkpoint_that_trained_something_else_is_refused(trained: Ended, tmp_path: Path) -> None:
    error = last_lines(run(tmp_path / "run", "--ckpt_path", str(trained.folder / "checkpoints" / "last.ckpt"), "--model.train", "{projector: 0.1}"))
    assert "init_from" in error


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code from the file has run",))


@pytest.mark.parametrize("write", [
    lambda path: path.write_bytes(pickle.dumps({"state_dict": Trap()})), lambda path: torch.save({"state_dict": Trap()}, path),
    lambda path: path.write_bytes(b"PK\x03\x04 cut"), lambda path: torch.save({"weights": torch.ones(1)}, path)])
def test_what_is_not_a_checkpoint_is_refused_and_nothing_in_it_runs(write: object, tmp_path: Path) -> None:
    write(tmp_path / "x.ckpt")  # type: ignore[operator]
    ended = run(tmp_path / "run", "--ckpt_path", str(tmp_path / "x.ckpt"))
    assert "x.ckpt" in last_lines(ended)
    assert "code from the file has run" not in ended.text


def test_a_glob_that_matches_nothing_is_an_error_with_the_nearest_names(tmp_path: Path) -> None:
    error = last_lines(run(tmp_path / "run", "--model.train", "{projectors: 0.1}"))
    assert "'projectors' matches none" in error
    assert "nearest names: projector" in error


def test_a_full_disk_while_saving_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    """A limit on file size stands in for the disk: it lets the first checkpoint pass and stops the second, which is made to be larger."""
    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        save = Supervised.on_save_checkpoint

        def grown(self: Supervised, checkpoint: dict[str, object]) -> None:
            save(self, checkpoint)  # type: ignore[arg-type]
            checkpoint["ballast"] = torch.zeros(1_000_000 if self.global_step > 2 else 1)
        Supervised.on_save_checkpoint = grown  # type: ignore[method-assign]
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    ended = run(tmp_path / "run", "--checkpoints.every", "2", prepare=small_disk)
    error = last_lines(ended)
    assert "could not be written" in error
    assert "is untouched" in error
    assert ended.checkpoint["global_step"] == 2
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]
    assert run(tmp_path / "run", "--resume", "true").rows[-1]["step"] == 14
