"""What lmms-eval finds under our entry point: the model "mm". Read and run at version 0.7.3; docs/lmms-eval.md has the commands."""
from lmms_eval.models.registry_v2 import ModelManifest

MANIFEST = ModelManifest(model_id="mm", simple_class_path="mm.clients.lmms_eval_model.MM")
