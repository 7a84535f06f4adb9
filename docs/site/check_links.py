# SPDX-License-Identifier: MIT
"""Every link, picture and entry of the sidebar of a site leads to a file and an anchor that are there: check_links.py SITE"""
import html.parser, pathlib, re, sys, urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = {""}, set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ("href", "src", "data") and value:
                self.links.add(value)


site = pathlib.Path(sys.argv[1])
pages = {path.name: Page(path.read_text(encoding="utf-8")) for path in site.glob("*.html")}
links = {(name, link) for name, page in pages.items() for link in page.links}
links |= {(path.name, link) for path in site.glob("navtreedata.js")
          for link in re.findall(r'"([^"]*\.html(?:#[^"]*)?)"', path.read_text(encoding="utf-8").partition("var NAVTREEINDEX")[0])}
bad = []
for page, link in sorted(links):
    url = urllib.parse.urlparse(link)
    if url.scheme:
        continue
    target = urllib.parse.unquote(url.path) or page
    if not (site / target).is_file():
        bad.append(f"{page}: {link}: there is no such file")
    elif target in pages and url.fragment not in pages[target].anchors:
        bad.append(f"{page}: {link}: there is no such anchor")
print(*bad, f"{len(pages)} pages, {len(links)} links, {len(bad)} that lead nowhere", sep="\n")
sys.exit(bool(bad) or "index.html" not in pages or not (site / "search/search.js").is_file())
