# `make demo` and `make test` set up everything they need; Python >= 3.11 and a package index are all they ask for.
PYTHON ?= python3
RUN ?= runs/demo
EDIT ?= runs/edit
TABLE := configs/edit/table
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-edit test lint format bench clean

# uv installs the same wheels several times faster than pip; it comes from the same index. Where it cannot reach the index (settings that only pip reads), pip does it.
.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1 $(BIN)/uv pip install --python $(BIN)/python --quiet --editable ".[dev]" \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

$(RUN)/model/model.safetensors: | .venv/.installed
	$(BIN)/python train.py fit --config configs/demo.yaml --run_dir $(RUN) --resume true

demo: .venv/.installed $(RUN)/model/model.safetensors
	$(BIN)/python -m eval pope chair skills pope:blind pope:context --config configs/eval/world.yaml --model $(RUN)
	$(BIN)/python -m eval.report $(RUN)

$(EDIT)/pipeline/model_index.json: | .venv/.installed
	$(BIN)/python train.py fit --config configs/edit/world.yaml --run_dir $(EDIT) --resume true

# Rows that show what each lever does, and few enough for three minutes of one core; configs/edit/table has more.
demo-edit: .venv/.installed $(EDIT)/pipeline/model_index.json
	$(BIN)/python -m eval.edits world --model $(EDIT)/pipeline --recipes $(TABLE)/cross-8.yaml $(TABLE)/cross-8-self-4-blend.yaml --kinds [colour]
	$(BIN)/python -m eval.edits world --model $(EDIT)/pipeline --recipes $(TABLE)/cross-2.yaml --kinds [shape]
	$(BIN)/python -m eval.edits.report $(EDIT)

test: .venv/.installed lint
	$(BIN)/python -m pytest -n 2

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.installed
	$(BIN)/ruff check --fix .

bench: .venv/.installed
	$(BIN)/python -m bench.train
	$(BIN)/python -m bench.products
	$(BIN)/python -m bench.attention
	$(BIN)/python -m bench.streams
	$(BIN)/python -m bench.ccam
	$(BIN)/python -m bench.vision
	$(BIN)/python -m bench.video
	$(BIN)/python -m bench.decoding
	$(BIN)/python -m bench.eval
	$(BIN)/python -m bench.edit

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
