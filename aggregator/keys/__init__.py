"""The health authority: case reports in, signed exports out."""
