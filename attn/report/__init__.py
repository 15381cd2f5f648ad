"""From groups of runs and their verdicts to tables, figures and pages."""
