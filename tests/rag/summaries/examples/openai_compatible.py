"""A model that copies from what it is shown."""

from tests.chat_server import copying_model

answer = copying_model("pneumonia", "heart failure", "sepsis")
