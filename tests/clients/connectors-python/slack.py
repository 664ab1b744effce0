"""Slack's own library says whether blocks are valid: it reads them and writes them again.

In: `blocks`. Out: `valid`, and `errors` as text.
"""

from lines import answer_lines, text_of
from slack_sdk.models.blocks import Block


def check(given):
    blocks = given["blocks"]
    try:
        written = [block.to_dict() for block in Block.parse_all(blocks)]
        # It leaves out what it does not know.
        if written != blocks:
            raise ValueError(f"it came out different: {written}")
        return {"valid": True, "errors": ""}
    except Exception as error:
        return {"valid": False, "errors": text_of(error)}


answer_lines(check)
