"""A small stand-in, in memory, for the Solr that CKAN talks to.  Usage: solr.py PORT

No search engine: no stemming, no relevance (each score is 1.0), no analysis
but lower case and words.  It answers what CKAN 2.10 to 2.12 sends:

  GET       /solr/CORE/schema, /solr/CORE/admin/file   name and version of the schema
  GET       /solr/CORE/admin/ping
  GET|POST  /solr/CORE/select   q fq sort rows start fl facet.*
  POST      /solr/CORE/update   JSON add; XML add, delete, commit

A core is there as soon as somebody asks for it, and each is a site's own.
Kept as Solr has it on purpose: dates are exact to the millisecond, a document
is visible only when /update has answered, and syntax that is not known gets
the status 400 and {"error": {"msg": ...}}.

For tests:
  POST  /solr/CORE/__control {"update_status": 500, "update_delay_ms": 20,
        "select_status": 500, "select_delay_ms": 20, "gone": true}
        `gone` closes every connection without an answer, as if Solr were down.
  POST  /solr/CORE/__forget  empties the core
"""
import datetime as dt
import json
import re
import socket
import sys
import threading
import time
import traceback
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from solr_query import BadQuery, Parser, as_list, as_text, date_ms, field_values, is_date_field

SCHEMA = '<schema name="ckan-2.10" version="1.6"><uniqueKey>index_id</uniqueKey></schema>'


class Core:
    """The documents of one site, and how they are to be answered for."""

    def __init__(self):
        self.lock = threading.Lock()
        self.docs = {}
        self.control = {"update_status": 0, "update_delay_ms": 0, "select_status": 0,
                        "select_delay_ms": 0, "gone": False}

    def add(self, docs):
        now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self.lock:
            for doc in docs:
                key = doc.get("index_id") or doc.get("id")
                if not key:
                    raise BadQuery("Document is missing mandatory uniqueKey field: index_id")
                doc.setdefault("indexed_ts", now)
                self.docs[as_text(key)] = doc

    def delete(self, ids=(), queries=()):
        tests = [Parser(query, ["text"]).parse() for query in queries]
        with self.lock:
            for key in [k for k, doc in self.docs.items() if k in ids or any(t(doc) for t in tests)]:
                del self.docs[key]

    def select(self, params):
        def first(key, default=None):
            return params[key][0] if key in params else default

        with self.lock:
            hits = list(self.docs.values())
        tests = matching(params, first)
        hits = in_order([doc for doc in hits if all(test(doc) for test in tests)], first("sort") or "")
        start, rows = int(first("start") or 0), int(first("rows") or 10)
        fields = [field for field in re.split(r"[\s,]+", first("fl", "*")) if field]
        body = {"responseHeader": {"status": 0, "QTime": 0},
                "response": {"numFound": len(hits), "start": start, "numFoundExact": True,
                             "docs": [shown(doc, fields) for doc in hits[start:start + rows]]}}
        if first("facet") == "true":
            limit, least = int(first("facet.limit") or 100), int(first("facet.mincount") or 0)
            counts = {field: facet(hits, field, limit, least) for field in params.get("facet.field", [])}
            body["facet_counts"] = {"facet_queries": {}, "facet_fields": counts}
        return body


def matching(params, first):
    """The tests that a document must pass: q and each fq."""
    query, kind = first("q", "*:*"), first("defType")
    dismax = kind in ("dismax", "edismax")
    fields = [word.split("^")[0] for word in first("qf", "text").split()] if dismax else [first("df", "text")]
    operator = "AND" if dismax and first("mm") else first("q.op", "OR")
    if kind == "dismax" and query != "*:*":
        query = query.replace(":", "\\:")
    tests = []
    if query.strip() not in ("", "*:*"):
        tests.append(Parser(query, fields, operator).parse())
    for query in params.get("fq", []):
        if query.strip():
            tests.append(Parser(query, [first("df", "text")], first("q.op", "OR")).parse())
    return tests


def in_order(hits, spec):
    # The last clause first: Python's sort keeps the order of what is equal.
    for clause in reversed([part.strip() for part in spec.split(",") if part.strip()]):
        words = clause.rsplit(None, 1)
        if len(words) != 2 or words[1].lower() not in ("asc", "desc"):
            raise BadQuery("Can't determine a Sort Order (asc or desc) in sort spec '%s', pos=%d"
                           % (spec, len(clause)))
        field, reverse = words[0], words[1].lower() == "desc"
        if field == "score":
            continue
        field = "title" if field == "title_string" else field

        def value(doc):
            values = as_list(doc.get(field))
            if not values:
                return None
            return (date_ms(as_text(values[0])) or 0) if is_date_field(field) else as_text(values[0])

        with_value = [doc for doc in hits if value(doc) is not None]
        hits = sorted(with_value, key=value, reverse=reverse) + [doc for doc in hits if value(doc) is None]
    return hits


def shown(doc, fields):
    if "*" in fields:
        return {key: value for key, value in doc.items() if key != "permission_labels"}
    some = {field: doc[field] for field in fields if field in doc}
    if "score" in fields:
        some["score"] = 1.0
    return some


def facet(hits, field, limit, least):
    tally = {}
    for doc in hits:
        for value in set(field_values(doc, field)):
            tally[value] = tally.get(value, 0) + 1
    pairs = sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))
    pairs = [pair for pair in pairs if pair[1] >= least]
    return [part for pair in (pairs if limit < 0 else pairs[:limit]) for part in pair]


class Gone(Exception):
    """The core is to look as if there were none."""


class ToldTo(Exception):
    """The core was told to answer with a status."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


CORES = {}
CORES_LOCK = threading.Lock()


def core_named(name):
    with CORES_LOCK:
        return CORES.setdefault(name, Core())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reply(self, status, body, kind="application/json"):
        body = body if isinstance(body, str) else json.dumps(body)
        body = body.encode()
        # Head and body in one piece: two would wait for each other.
        self.wfile.write(
            (f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}\r\n"
             f"Content-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)

    def refuse(self, status, text):
        self.reply(status, {"responseHeader": {"status": status, "QTime": 0}, "error": {"msg": text, "code": status}})

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def answer(self, body):
        url = urlsplit(self.path)
        parts = [part for part in url.path.split("/") if part]
        try:
            if len(parts) < 3 or parts[0] != "solr":
                return self.refuse(404, "Not Found")
            return self.of_core(parts[1], parts[2:], parse_qs(url.query, keep_blank_values=True), body)
        except Gone:
            self.close_connection = True
        except ToldTo as told:
            self.refuse(told.status, "told to fail")
        except BadQuery as error:
            self.refuse(400, str(error))
        except Exception as error:  # noqa: BLE001 - it answers, it does not die
            traceback.print_exc()
            self.refuse(500, f"{type(error).__name__}: {error}")

    def of_core(self, name, what, params, body):
        core = core_named(name)
        if what[0] == "__control":
            core.control.update(json.loads(body or b"{}"))
            return self.reply(200, core.control)
        if what[0] == "__forget":
            with CORES_LOCK:
                del CORES[name]
            return self.reply(200, {})
        if core.control["gone"]:
            raise Gone
        if what == ["admin", "ping"]:
            return self.reply(200, {"status": "OK"})
        if what[0] in ("schema", "admin"):
            return self.reply(200, SCHEMA, "application/xml")
        if what[0] == "select":
            obey(core, "select")
            more = parse_qs(body.decode(), keep_blank_values=True)
            return self.reply(200, core.select({**params, **more}))
        if what[0] == "update":
            obey(core, "update")
            update(core, self.headers.get("Content-Type") or "", body)
            return self.reply(200, {"responseHeader": {"status": 0, "QTime": 0}})
        return self.refuse(404, "Not Found")


def obey(core, kind):
    """Waits and fails, as the core was told to."""
    time.sleep(core.control[kind + "_delay_ms"] / 1000)
    if core.control[kind + "_status"]:
        raise ToldTo(core.control[kind + "_status"])


def update(core, kind, body):
    if "json" in kind:
        told = json.loads(body)
        if isinstance(told, list):
            core.add(told)
        elif "delete" in told:
            gone = told["delete"]
            by_query = gone.get("query") if isinstance(gone, dict) else None
            core.delete(ids=as_list(gone.get("id") if isinstance(gone, dict) else gone), queries=as_list(by_query))
        return
    root = ET.fromstring(body)
    if root.tag == "delete":
        core.delete(ids=[e.text for e in root.iter("id")], queries=[e.text for e in root.iter("query")])
    elif root.tag == "add":
        core.add([from_xml(element) for element in root.iter("doc")])


def from_xml(element):
    doc = {}
    for field in element.iter("field"):
        name, value = field.get("name"), field.text or ""
        doc[name] = as_list(doc[name]) + [value] if name in doc else value
    return doc


def main(port):
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
