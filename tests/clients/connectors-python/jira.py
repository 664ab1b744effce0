"""A client of Jira, over version 2 of its API: an issue from its creation until it is done.

Its first argument is JSON: `url`, `project`, `email`, `token`. It prints whether all went well.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

# The package is called as this file is.
HERE = Path(__file__).resolve().parent
sys.path = [path for path in sys.path if Path(path).resolve() != HERE]

from jira import JIRA  # noqa: E402

GIVEN = json.loads(sys.argv[1])
PROJECT = GIVEN["project"]
LABEL = "entl-probe"


def say(thing, code):
    print(json.dumps(thing), flush=True)
    os._exit(code)


def probe():
    jira = JIRA(
        GIVEN["url"],
        basic_auth=(GIVEN["email"], GIVEN["token"]),
        get_server_info=False,
        validate=False,
        max_retries=0,
        timeout=10,
    )

    summary, description = "A probe by jira of PyPI", "What jira of PyPI says of it."
    key = jira.create_issue(
        project={"key": PROJECT},
        issuetype={"name": "Task"},
        summary=summary,
        description=description,
        labels=[LABEL],
    ).key
    assert key.startswith(f"{PROJECT}-"), key

    fields = jira.issue(key).fields
    assert fields.summary == summary, fields.summary
    assert fields.description == description, fields.description
    assert fields.labels == [LABEL], fields.labels
    assert fields.issuetype.name == "Task", fields.issuetype.name
    assert fields.project.key == PROJECT, fields.project.key
    assert fields.status.statusCategory.key != "done", fields.status.raw

    text = "A comment by jira of PyPI."
    comment = jira.add_comment(key, text)
    comments = [(one.id, one.body) for one in jira.comments(key)]
    assert comments == [(comment.id, text)], comments

    transitions = jira.transitions(key)
    done = [one["id"] for one in transitions if one["to"]["statusCategory"]["key"] == "done"]
    assert done, f"no transition leads to done: {transitions}"
    jira.transition_issue(key, done[0])
    status = jira.issue(key).fields.status
    assert status.statusCategory.key == "done", status.raw

    # The same global id again changes the link that is there.
    global_id = f"entl-probe={key}"
    ids = [
        jira.add_remote_link(
            key, {"url": "https://example.com/probe", "title": title}, globalId=global_id
        ).id
        for title in ["first", "second"]
    ]
    links = [(one.id, one.globalId, one.object.title) for one in jira.remote_links(key)]
    assert links == [(ids[0], global_id, "second")], links
    assert ids[1] == ids[0], ids

    # Searches may lag.
    jql = f'project = "{PROJECT}" AND labels = "{LABEL}"'
    end = time.monotonic() + 5
    while True:
        found = [one for one in jira.search_issues(jql) if one.key == key]
        if found:
            break
        assert time.monotonic() < end, "the search did not find the issue in 5 seconds"
        time.sleep(0.2)
    assert found[0].fields.summary == summary, found[0].raw
    assert found[0].fields.labels == [LABEL], found[0].raw
    return key


patience = threading.Timer(30, say, [{"ok": False, "error": "gave up after 30 seconds"}, 1])
patience.daemon = True
patience.start()
try:
    say({"ok": True, "key": probe()}, 0)
except Exception as error:
    say({"ok": False, "error": f"{type(error).__name__}: {error}"}, 1)
