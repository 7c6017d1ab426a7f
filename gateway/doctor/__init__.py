"""The doctor: finds what does not mend itself, and mends what can be mended."""
