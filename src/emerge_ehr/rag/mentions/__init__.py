"""How the rules read a text: a dictionary of names, terms and cues, one search, and what a mention means where it stands."""
