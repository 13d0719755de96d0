"""Networks by name (`table`) and their builders; none knows a task."""
