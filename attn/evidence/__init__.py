"""From finished runs to groups that may be compared, their statistics, and verdicts."""
