"""From finished runs to tables and figures."""

from attn.report.checkpoint import report_checkpoint
from attn.report.report import report

__all__ = ["report", "report_checkpoint"]
