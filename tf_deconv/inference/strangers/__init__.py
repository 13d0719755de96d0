"""What model files of strangers may hold, looked at before they are opened."""
