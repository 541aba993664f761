"""What a table of figures was measured on."""
import os
import platform
from pathlib import Path

import torch
import transformers


def machine() -> str:
    """Processor, threads, GPU if there is one, and versions, in one line."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    processor = names[0] if names else platform.processor() or platform.machine()
    return (f"{processor} ({os.cpu_count()} cores, {torch.get_num_threads()} thread){gpu}, load {os.getloadavg()[0]:.1f}; "
            f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")
