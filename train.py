"""Fit or validate a model: `python train.py fit --config configs/demo.yaml --config overlay.yaml --model.mask mm.masks.Prefix`.

What is trained is a vision-language model (`mm.training.Supervised`), unless a configuration or the command line names another module by `class_path`
under `model`, as `configs/edit/world.yaml` does with `mm.training.TextToImage`.
"""
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from mm.training import Checkpoints, Data, Export, FastestPrecision, Journal, JSONLines, Preemption, Progress, Randomness, Supervised
from mm.training.exact import ExactSteps
from mm.training.hints import Parser
from mm.training.kind import names_its_class
from mm.training.memory import keep_freed_memory
from mm.training.provenance import Provenance
from mm.training.quiet import quiet
from mm.training.run import checkpoint_to_resume, report_changes, short_errors

DEFAULTS = {"logger": False, "use_distributed_sampler": False, "enable_model_summary": False, "num_sanity_val_steps": 0}


class Program(LightningCLI):
    """Its guards: overrides beat checkpoints; parts are factories; no linked arguments; short errors; runs are documented and never overwritten."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run_dir", type=str | None, default=None, help="directory of this run, like runs/demo; must not exist unless resuming")
        parser.add_argument("--resume", type=bool, default=False, help="continue the run in run_dir from its last checkpoint, if it has one")
        parser.add_argument("--threads", type=int | None, default=None, help="CPU threads of torch; small models train fastest with one")
        parser.add_lightning_class_args(Journal, "journal")
        parser.add_lightning_class_args(Checkpoints, "checkpoints")

    def _parse_ckpt_path(self) -> None:
        """Lightning would merge the checkpoint's hyper-parameters over the command line here. The command line and YAML always win."""

    def before_instantiate_classes(self) -> None:
        given = self.config[self.subcommand]
        self.run_dir = Path(given.run_dir or "runs")
        if given.threads:
            torch.set_num_threads(given.threads)
        if self.subcommand == "fit" and (given.resume or not given.ckpt_path):
            given.ckpt_path = checkpoint_to_resume(given.run_dir, given.resume)
        if given.ckpt_path:
            report_changes(given.ckpt_path, self._parser(self.subcommand).dump(given, skip_none=False))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        asked = self._get(self.config_init, "trainer")
        always = [JSONLines(self.run_dir)] if self.subcommand == "fit" else []
        plugins = [plugin for plugin in listed(asked.plugins) if not (asked.precision and isinstance(plugin, FastestPrecision))]
        return super().instantiate_trainer(default_root_dir=self.run_dir, logger=always + listed(asked.logger), plugins=plugins)


def listed(given: Any) -> list[Any]:
    """One thing, several or none, as a list."""
    return given if isinstance(given, list) else [given] if given else []


@short_errors()
def main(args: ArgsType = None) -> None:
    quiet()
    keep_freed_memory()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers fork
    free = names_its_class(sys.argv[1:] if args is None else args)
    Program(ExactSteps if free else Supervised, Data, Provenance, subclass_mode_model=free, args=args, parser_class=Parser,
            load_from_checkpoint_support=False, seed_everything_default=0,
            trainer_defaults=DEFAULTS | {"callbacks": [Randomness(), Preemption(), Progress(), Export()]})


if __name__ == "__main__":
    main()
