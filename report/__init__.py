"""From records to tables, figures, verdicts and one HTML page."""
