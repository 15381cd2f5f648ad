"""From finished runs to groups that may be compared, and verdicts."""
