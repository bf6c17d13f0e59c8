# SPDX-License-Identifier: BSD-3-Clause
"""bench/numbers.py as a module, beside the standard library's `numbers`."""
import importlib.util
import pathlib

_path = pathlib.Path(__file__).resolve().parents[2] / "bench" / "numbers.py"
_spec = importlib.util.spec_from_file_location("bench_numbers", _path)
numbers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(numbers)
