"""Code that the sources of MIMIC-III and MIMIC-IV share."""
