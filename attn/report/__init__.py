"""From finished runs to verdicts, tables, figures and a page."""

from attn.report.checkpoint import inspect_all, report_checkpoint
from attn.report.report import report

__all__ = ["inspect_all", "report", "report_checkpoint"]
