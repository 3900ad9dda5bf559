#!/usr/bin/env python3
"""Is a report's page well-formed? Every element is closed, in order; ids are unique; links within the
page lead somewhere; the numbers of the charts are JSON; nothing but data: is loaded.
    check_page.py PAGE.html"""
import html.parser
import json
import sys

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.problems = [], [], [], []
        self.json = None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if len(values) != len(attributes):
            self.problems.append(f"<{tag}> has an attribute twice: {attributes}")
        if any(name.startswith("on") for name in values):
            self.problems.append(f"<{tag}> has a handler: {attributes}")
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href"):
            value = values.get(name, "")
            if value.startswith("#"):
                self.links.append(value[1:])
            elif name in values and not value.startswith("data:image/"):
                self.problems.append(f"<{tag} {name}={value[:40]}>")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script" and values.get("type") == "application/json":
            self.json = ""

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> where {self.open[-3:]} are open, line {self.getpos()[0]}")
            return
        self.open.pop()
        if self.json is not None:
            data = json.loads(self.json)
            for series in data["series"]:
                for name in ("y", "low", "high", "n"):
                    if name in series and len(series[name]) != len(series["x"]):
                        self.problems.append(f"{series['name']}: {name} is not as long as x")
            self.json = None

    def handle_data(self, text):
        if self.json is not None:
            self.json += text


page = Page()
with open(sys.argv[1], encoding="utf-8") as file:
    page.feed(file.read())
page.close()
if page.open:
    page.problems.append(f"not closed: {page.open}")
if len(set(page.ids)) != len(page.ids):
    page.problems.append("an id comes twice")
page.problems += [f"#{link} leads nowhere" for link in page.links if link not in page.ids]
for problem in page.problems[:10]:
    print(f"{sys.argv[1]}: {problem}")
sys.exit(bool(page.problems))
