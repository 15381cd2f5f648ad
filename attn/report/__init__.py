"""From finished runs to verdicts, tables, figures and a page."""
