"""Language models behind a chat-completions endpoint: what may be asked, how it is asked, and what came back."""
