"""How the rules read a text: a dictionary of names, terms and cues, one search for all of them, and each mention's status."""
