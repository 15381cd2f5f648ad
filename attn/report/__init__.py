"""From finished runs to tables and figures."""

from attn.report.report import report

__all__ = ["report"]
