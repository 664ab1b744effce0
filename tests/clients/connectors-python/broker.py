"""A real service broker, by the Open Service Broker API, whose failures are told beforehand.

It prints its port. Each line of its input is answered by one: `{"rule": ...}` has something go wrong,
`{"calls": true}` says what it was asked, `{"instances": true}` what it has, `{"clear": true}` forgets
calls and rules. It ends when its input does, and so with whoever started it.

A rule is for the next `times` requests of a `method` whose path ends with `path`, and does one of:
`status` (with `body` and `headers`), `hang_s`, or `drop`. With `reaches` the broker has done what it
was asked by then.
"""

import json
import logging
import os
import socket
import sys
import threading
import time

from flask import Flask
from lines import say, text_of
from openbrokerapi import errors
from openbrokerapi.api import BrokerCredentials, ServiceBroker, get_blueprint
from openbrokerapi.catalog import ServicePlan
from openbrokerapi.service_broker import (
    DeprovisionServiceSpec,
    LastOperation,
    OperationState,
    ProvisionedServiceSpec,
    ProvisionState,
    Service,
    UpdateServiceSpec,
)
from werkzeug.serving import WSGIRequestHandler, make_server

USER, PASSWORD = "entl", "hush-hush-hush"
SLOW, QUICK = "svc-reminders", "svc-sync"
LOCK = threading.RLock()
INSTANCES, CALLS, RULES = {}, [], []


class Instance:
    """What was made, and how far it is."""

    def __init__(self, details):
        self.wanted = wanted(details)
        self.context = details.context
        self.guids = [details.organization_guid, details.space_guid]
        self.state = "new"
        self.polls = 0
        self.counts = {"created": 0, "updated": 0, "deleted": 0}

    def begin(self, state, parameters):
        self.state = state
        self.polls = int((parameters or {}).get("polls", 1))

    def shown(self):
        context = {"context": self.context, "guids": self.guids, "state": self.state}
        return self.wanted | context | self.counts


def wanted(details):
    names = ["service_id", "plan_id", "parameters"]
    return {name: getattr(details, name) for name in names}


class Broker(ServiceBroker):
    """Slow services say later that something is done; quick ones at once."""

    def catalog(self):
        plans = [ServicePlan(f"plan-{size}", size, size) for size in ("small", "large")]
        service = {"bindable": False, "plan_updateable": True}
        return [
            Service(id=name, name=name, description=name, plans=plans, **service)
            for name in (SLOW, QUICK)
        ]

    def provision(self, instance_id, details, async_allowed, **_):
        if details.service_id == SLOW and not async_allowed:
            raise errors.ErrAsyncRequired()
        with LOCK:
            known = INSTANCES.get(instance_id)
            if known is not None and known.state != "gone":
                if known.wanted != wanted(details):
                    raise errors.ErrInstanceAlreadyExists()
                if known.state == "provisioning":
                    return ProvisionedServiceSpec(ProvisionState.IS_ASYNC, operation="make")
                return ProvisionedServiceSpec(ProvisionState.IDENTICAL_ALREADY_EXISTS)
            made = INSTANCES[instance_id] = Instance(details)
            made.counts = known.counts if known else made.counts
            made.counts["created"] += 1
            if details.service_id == SLOW:
                made.begin("provisioning", details.parameters)
                return ProvisionedServiceSpec(ProvisionState.IS_ASYNC, operation="make")
            made.state = "ready"
            return ProvisionedServiceSpec()

    def update(self, instance_id, details, async_allowed, **_):
        with LOCK:
            known = INSTANCES.get(instance_id)
            if known is None or known.state == "gone":
                raise errors.ErrBadRequest("there is no such instance")
            if known.state in ("provisioning", "updating", "deleting"):
                raise errors.ErrConcurrentInstanceAccess()
            known.wanted = wanted(details)
            known.context = details.context
            known.counts["updated"] += 1
            if details.service_id == SLOW:
                known.begin("updating", details.parameters)
                return UpdateServiceSpec(is_async=True, operation="change")
            return UpdateServiceSpec(is_async=False)

    def deprovision(self, instance_id, details, async_allowed, **_):
        with LOCK:
            known = INSTANCES.get(instance_id)
            if known is None or known.state == "gone":
                raise errors.ErrInstanceDoesNotExist()
            if known.state == "deleting":
                return DeprovisionServiceSpec(is_async=True, operation="remove")
            # What is being made may be told to go.
            known.counts["deleted"] += 1
            if details.service_id == SLOW:
                known.begin("deleting", {})
                return DeprovisionServiceSpec(is_async=True, operation="remove")
            known.state = "gone"
            return DeprovisionServiceSpec(is_async=False)

    def last_operation(self, instance_id, operation_data, **_):
        with LOCK:
            known = INSTANCES.get(instance_id)
            if known is None or known.state == "gone":
                raise errors.ErrInstanceDoesNotExist()
            if known.polls > 0:
                known.polls -= 1
                return LastOperation(OperationState.IN_PROGRESS, "it is at it")
            fails = (known.wanted["parameters"] or {}).get("fail")
            if known.state == "provisioning" and fails or known.state == "failed":
                known.state = "failed"
                return LastOperation(OperationState.FAILED, "there is no room")
            if known.state == "updating" and fails:
                known.state = "ready"
                return LastOperation(OperationState.FAILED, "it cannot be changed")
            known.state = "gone" if known.state == "deleting" else "ready"
            return LastOperation(OperationState.SUCCEEDED, "it is done")


class Failures:
    """Stands before the broker: notes what it is asked, and has go wrong what a rule says."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        rule = self.take(method, path)
        status, answer = self.ask(environ, body) if rule is None or rule.get("reaches") else (None, [])
        if rule is not None and "status" in rule:
            status = f"{rule['status']} As told", list((rule.get("headers") or {}).items())
            answer = [rule.get("body", "").encode()]
        with LOCK:
            CALLS.append(
                {
                    "method": method,
                    "path": path,
                    "query": environ["QUERY_STRING"],
                    "headers": {
                        name[5:].lower().replace("_", "-"): value
                        for name, value in environ.items()
                        if name.startswith("HTTP_X_BROKER")
                    },
                    "body": json.loads(body) if body else None,
                    "status": status and int(status[0].split()[0]),
                }
            )
        if rule is not None and "status" not in rule:
            time.sleep(rule.get("hang_s", 0))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            status, answer = ("500 Gone", []), []
        start_response(status[0], status[1])
        return answer

    def take(self, method, path):
        with LOCK:
            for rule in RULES:
                if rule["method"] == method and path.endswith(rule.get("path", "")):
                    rule["times"] = rule.get("times", 1) - 1
                    if rule["times"] == 0:
                        RULES.remove(rule)
                    return rule
        return None

    def ask(self, environ, body):
        import io

        said = []
        environ["wsgi.input"] = io.BytesIO(body)
        answer = self.app(environ, lambda status, headers, *_: said.append((status, headers)))
        return said[0], list(answer)


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass


def answer(line):
    with LOCK:
        if "rule" in line:
            RULES.append(line["rule"])
        if "clear" in line:
            CALLS.clear()
            RULES.clear()
        if "calls" in line:
            return {"calls": list(CALLS)}
        if "instances" in line:
            return {"instances": {key: it.shown() for key, it in INSTANCES.items()}}
    return {}


def main():
    logging.disable(logging.CRITICAL)
    app = Flask(__name__)
    app.register_blueprint(get_blueprint(Broker(), BrokerCredentials(USER, PASSWORD), logging.getLogger()))
    server = make_server("127.0.0.1", 0, Failures(app), threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say({"ready": True, "port": server.port, "user": USER, "password": PASSWORD})
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except Exception as error:
            said = {"error": text_of(error)}
        say(said)
    os._exit(0)


main()
