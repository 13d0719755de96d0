"""What a client is told when it does not get what it asked for."""

import json


class RequestError(Exception):
    """An answer other than 200: its status, and one line of what was found and what to do."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def as_json(text):
    """Returns the body of a refusal."""
    return json.dumps({"error": " ".join(str(text).split())}).encode()
