"""A made-up intensive care unit in MIMIC-IV's and PrimeKG's file formats, with a known true risk."""
