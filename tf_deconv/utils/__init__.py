"""What every package needs: options, whole files, devices, progress."""
