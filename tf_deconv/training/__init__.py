"""From options and pictures to a run folder."""
