"""Language models behind chat-completions endpoints: sending questions, reading and keeping the answers, and their cost."""
