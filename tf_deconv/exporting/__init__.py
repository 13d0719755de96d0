"""From a Keras model to files that other programs run, each proven to give the same picture."""

from __future__ import annotations

from tf_deconv.exporting.pipeline import ExportResult, export

__all__ = ["ExportResult", "export"]
