"""The health authority: case reports of clinics in, signed exports of diagnosis keys out."""
