"""The page on LoSA: its code runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adapt_losa.md"


def test_the_code_of_the_page_runs_and_learns(tmp_path):
    (code,) = re.findall(r"<!-- test -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code += "\nimport json; print(json.dumps(model.predict(images).tolist()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    chances = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert (chances.argmax(1) == np.arange(16) % 2).all()
    assert (tmp_path / "adapter" / "model.safetensors").is_file()
