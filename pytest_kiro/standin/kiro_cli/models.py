"""The models of the stand-in, in the shape that sessions record."""

from __future__ import annotations

from . import formats
from .failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODELS: list[dict[str, Any]] = [
    {
        "model_name": "auto",
        "description": "Picks a model for each task",
        "model_id": "auto",
        "context_window_tokens": 200000,
        "rate_multiplier": 1.0,
        "rate_unit": "Credit",
    },
    {
        "model_name": "claude-sonnet-4.5",
        "description": "The Claude Sonnet 4.5 model",
        "model_id": "claude-sonnet-4.5",
        "context_window_tokens": 200000,
        "rate_multiplier": 1.3,
        "rate_unit": "Credit",
    },
    {
        "model_name": "claude-haiku-4.5",
        "description": "The Claude Haiku 4.5 model",
        "model_id": "claude-haiku-4.5",
        "context_window_tokens": 200000,
        "rate_multiplier": 0.4,
        "rate_unit": "Credit",
    },
    {
        "model_name": "qwen3-coder-next",
        "description": "Experimental preview of Qwen3 Coder Next",
        "model_id": "qwen3-coder-next",
        "context_window_tokens": 256000,
        "rate_multiplier": 0.05,
        "rate_unit": "Credit",
    },
]


def find(model_id: str) -> dict[str, Any]:
    """Find the model of that id."""
    for model in MODELS:
        if model["model_id"] == model_id:
            return model
    known = ", ".join(model["model_id"] for model in MODELS)
    raise Failure(f"error: Model '{model_id}' does not exist. Available models: {known}")


def listing(form: str) -> str:
    """Write what `--list-models` prints."""
    if form == "plain":
        lines = [f"{m['model_id']:<24}{m['rate_multiplier']:.2f}x credits" for m in MODELS]
        return "Available models:\n\n  " + "\n  ".join(lines) + "\n"
    value = {"models": MODELS, "default_model": "auto"}
    return formats.dumps(value, 2 if form == "json-pretty" else None) + "\n"
