"""What the scripts share: one JSON object per line, in and out."""

import json
import sys


def say(thing):
    """Prints one line. What is no text in any encoding becomes a question mark."""
    line = json.dumps(thing, ensure_ascii=False) + "\n"
    sys.stdout.buffer.write(line.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def text_of(error):
    """What went wrong, as text that is never empty."""
    return str(error) or repr(error)


def answer_lines(answer):
    """Answers every line of the input, in order, until there are no more."""
    say({"ready": True})
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        try:
            said = answer(json.loads(line))
        except Exception as error:
            said = {"error": text_of(error)}
        say(said)
