"""What sources share: raw CSV files, notes in files, notes made of codes."""
