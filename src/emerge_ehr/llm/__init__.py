"""Language models behind a chat-completions endpoint: what may be asked, how it is asked, and what came back."""

# settings of [llm] that decide an answer
DECIDING = ("model", "temperature", "max_output_tokens", "json_mode", "extra_body")
