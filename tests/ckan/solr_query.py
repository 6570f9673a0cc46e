"""The part of Lucene's query language that CKAN and those who ask it use.

  term, "phrase", field:term, field:"phrase", field:(a OR b), field:[a TO b],
  field:{a TO b}, * and ? wildcards, + - ! NOT AND OR && ||, ( ), ^boost, ~fuzz
  (boost and fuzz are read and ignored), NOW with date maths.
"""
import calendar
import datetime as dt
import json
import re

# What CKAN's schema copies into the field that is searched when none is named.
MULTI_TEXT = (
    "name", "title", "notes", "tags", "groups", "organization", "license",
    "res_name", "res_description", "res_url", "url", "maintainer", "author",
)
DATE_FIELDS = {"metadata_created", "metadata_modified", "indexed_ts"}


class BadQuery(Exception):
    """What Solr answers with the status 400."""


DATE_RE = re.compile(
    r"^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?)?Z?$")
MATH_RE = re.compile(r"([+\-/])(\d*)(YEAR|MONTH|DAY|HOUR|MINUTE|SECOND|MILLI|MILLISECOND)S?")


def date_ms(text):
    """Milliseconds since the epoch, or None where text is not a date."""
    text = text.strip()
    base, rest = text, ""
    if text.startswith("NOW"):
        base, rest = "NOW", text[3:]
    elif "Z" in text:
        cut = text.index("Z") + 1
        base, rest = text[:cut], text[cut:]
    if base == "NOW":
        when = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
    else:
        m = DATE_RE.match(base)
        if not m:
            return None
        y, mo, d, h, mi, s = (int(x) if x else 0 for x in m.groups()[:6])
        frac = (m.group(7) or "0").ljust(6, "0")[:6]
        try:
            when = dt.datetime(y, mo, d, h, mi, s, int(frac))
        except ValueError:
            return None
    pos = 0
    while pos < len(rest):
        m = MATH_RE.match(rest, pos)
        if not m:
            raise BadQuery("Invalid Date Math String:'%s'" % text)
        op, num, unit = m.groups()
        pos = m.end()
        if op == "/":
            cut = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"].index(unit) + 1
            when = dt.datetime(*(list(when.timetuple()[:cut]) + [1, 1, 1, 0, 0, 0][cut:]))
            continue
        n = int(num or 1) * (1 if op == "+" else -1)
        if unit in ("YEAR", "MONTH"):
            months = when.year * 12 + when.month - 1 + n * (12 if unit == "YEAR" else 1)
            y, mo = divmod(months, 12)
            d = min(when.day, calendar.monthrange(y, mo + 1)[1])
            when = when.replace(year=y, month=mo + 1, day=d)
        else:
            key = {"DAY": "days", "HOUR": "hours", "MINUTE": "minutes",
                   "SECOND": "seconds"}.get(unit, "milliseconds")
            when += dt.timedelta(**{key: n})
    delta = when - dt.datetime(1970, 1, 1)
    return delta.days * 86400000 + delta.seconds * 1000 + delta.microseconds // 1000


def is_date_field(field):
    return field in DATE_FIELDS or field.endswith("_date")


def as_list(value):
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def as_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)


def tokens(text):
    return [t for t in re.split(r"\W+", text.lower()) if t]


ANALYSED = {"text", "title", "notes", "author", "author_email", "maintainer",
            "maintainer_email", "res_name", "res_description", "urls",
            "title_ngram", "name_ngram"}


def is_analysed(field):
    return field in ANALYSED or field.startswith(("extras_", "res_extras_"))


def field_values(doc, field):
    if field == "text":
        out = []
        for f in MULTI_TEXT:
            out += as_list(doc.get(f))
        for k, v in doc.items():
            if k.startswith(("extras_", "res_extras_", "vocab_")):
                out += as_list(v)
        return [as_text(v) for v in out if v is not None]
    if field == "urls":
        return [as_text(v) for f in ("url", "ckan_url", "res_url") for v in as_list(doc.get(f))]
    if field in ("title_ngram", "name_ngram"):
        field = field[:-6]
    return [as_text(v) for v in as_list(doc.get(field)) if v is not None and v != ""]


SPECIAL = set('()[]{}"^~:+!')


class Parser:
    """Recursive descent over the Lucene subset; gives a predicate on a doc."""

    def __init__(self, text, default_fields, op="OR"):
        self.s, self.i, self.n = text, 0, len(text)
        self.df, self.op = default_fields, op

    def ws(self):
        while self.i < self.n and self.s[self.i].isspace():
            self.i += 1

    def word_ahead(self, *words):
        for w in words:
            if self.s.startswith(w, self.i):
                end = self.i + len(w)
                if not w.isalpha() or end >= self.n or self.s[end].isspace() or self.s[end] in "(\"+-":
                    return w
        return None

    def parse(self):
        node = self.clauses(None, False)
        self.ws()
        if self.i < self.n:
            raise BadQuery("Cannot parse '%s' at %d" % (self.s, self.i))
        return node

    def clauses(self, field, inner):
        must, must_not, should = [], [], []
        pending, plus_last = None, False
        while True:
            self.ws()
            if self.i >= self.n or (inner and self.s[self.i] == ")"):
                break
            w = self.word_ahead("AND", "&&", "OR", "||")
            if w:
                self.i += len(w)
                pending = "AND" if w in ("AND", "&&") else "OR"
                if pending == "AND" and should:
                    must.append(should.pop())
                elif pending == "OR" and self.op == "AND" and len(must) and not plus_last:
                    should.append(must.pop())
                continue
            neg = plus = False
            if self.s[self.i] == "+":
                plus, self.i = True, self.i + 1
            elif self.s[self.i] in "-!":
                neg, self.i = True, self.i + 1
            else:
                w = self.word_ahead("NOT")
                if w:
                    neg, self.i = True, self.i + 3
            self.ws()
            node = self.atom(field)
            plus_last = plus
            if neg:
                must_not.append(node)
            elif plus or pending == "AND" or (pending is None and self.op == "AND"):
                must.append(node)
            else:
                should.append(node)
            pending = None

        def test(doc):
            if any(p(doc) for p in must_not):
                return False
            if not all(p(doc) for p in must):
                return False
            if should and not must:
                return any(p(doc) for p in should)
            return True
        return test

    def atom(self, field):
        if self.i >= self.n:
            raise BadQuery("Cannot parse '%s': Encountered \"<EOF>\"" % self.s)
        c = self.s[self.i]
        if c == "(":
            self.i += 1
            node = self.clauses(field, True)
            if self.i >= self.n or self.s[self.i] != ")":
                raise BadQuery("Cannot parse '%s': missing )" % self.s)
            self.i += 1
            self.suffix()
            return node
        if c == '"':
            return self.term(field, self.quoted(), True)
        if c in "[{":
            return self.range_(field)
        word = self.bare()
        if field is None or (self.i < self.n and self.s[self.i] == ":"):
            if self.i < self.n and self.s[self.i] == ":":
                self.i += 1
                self.ws()
                if word == "*" and self.s.startswith("*", self.i):
                    self.i += 1
                    return lambda doc: True
                return self.atom(word)
        self.suffix()
        return self.term(field, word, False)

    def bare(self):
        out = []
        start = self.i
        while self.i < self.n:
            c = self.s[self.i]
            if c == "\\" and self.i + 1 < self.n:
                out.append(self.s[self.i + 1] if self.s[self.i + 1] not in "*?" else "\\" + self.s[self.i + 1])
                self.i += 2
                continue
            if c.isspace() or c in '()[]{}"^~:':
                break
            out.append(c)
            self.i += 1
        if self.i == start:
            raise BadQuery("Cannot parse '%s': Encountered \"%s\" at column %d"
                           % (self.s, self.s[self.i], self.i))
        return "".join(out)

    def quoted(self):
        self.i += 1
        out = []
        while self.i < self.n and self.s[self.i] != '"':
            if self.s[self.i] == "\\" and self.i + 1 < self.n:
                self.i += 1
            out.append(self.s[self.i])
            self.i += 1
        if self.i >= self.n:
            raise BadQuery("Cannot parse '%s': unterminated quote" % self.s)
        self.i += 1
        self.suffix()
        return "".join(out)

    def suffix(self):
        m = re.compile(r"([\^~][\d.]*)+").match(self.s, self.i)
        if m:
            self.i = m.end()

    def range_(self, field):
        m = re.compile(r"([\[{])\s*(.+?)\s+TO\s+(.+?)\s*([\]}])").match(self.s, self.i)
        if not m:
            raise BadQuery("Cannot parse '%s': bad range" % self.s)
        self.i = m.end()
        self.suffix()
        lo, hi = m.group(2).strip('"').replace("\\", ""), m.group(3).strip('"').replace("\\", "")
        lo_in, hi_in = m.group(1) == "[", m.group(4) == "]"
        if field is None:
            raise BadQuery("range without a field in '%s'" % self.s)
        if is_date_field(field):
            def conv(v):
                got = date_ms(v)
                if got is None:
                    raise BadQuery("Invalid Date String:'%s'" % v)
                return got
        else:
            def conv(v):
                return v
        lo_v = None if lo == "*" else conv(lo)
        hi_v = None if hi == "*" else conv(hi)

        def test(doc):
            for raw in field_values(doc, field):
                v = date_ms(raw) if is_date_field(field) else raw
                if v is None:
                    continue
                if lo_v is not None and not (v > lo_v or (lo_in and v == lo_v)):
                    continue
                if hi_v is not None and not (v < hi_v or (hi_in and v == hi_v)):
                    continue
                return True
            return False
        return test

    def term(self, field, text, phrase):
        fields = [field] if field else self.df

        def one(f):
            if not phrase and text == "*":
                return lambda doc: bool(field_values(doc, f))
            if is_date_field(f):
                want = date_ms(text)
                return lambda doc: any(date_ms(v) == want for v in field_values(doc, f))
            if not phrase and re.search(r"(?<!\\)[*?]", text):
                rx = "".join(
                    ".*" if p == "*" else "." if p == "?" else re.escape(p.replace("\\", ""))
                    for p in re.split(r"((?<!\\)[*?])", text))
                if is_analysed(f):
                    pat = re.compile("^" + rx + "$", re.I | re.S)
                    return lambda doc: any(pat.match(t) for v in field_values(doc, f)
                                           for t in tokens(v) + [v])
                pat = re.compile("^" + rx + "$", re.S)
                return lambda doc: any(pat.match(v) for v in field_values(doc, f))
            if is_analysed(f):
                want = tokens(text)

                def hit(doc):
                    for v in field_values(doc, f):
                        have = tokens(v)
                        for k in range(len(have) - len(want) + 1):
                            if have[k:k + len(want)] == want:
                                return True
                    return not want
                return hit
            plain = text.replace("\\", "")
            return lambda doc: plain in field_values(doc, f)

        tests = [one(f) for f in fields]
        return lambda doc: any(t(doc) for t in tests)
