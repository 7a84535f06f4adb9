// SPDX-License-Identifier: MIT
#include "page.hpp"

#include "heat_map.hpp"
#include "markup.hpp"
#include "spectrum_chart.hpp"

#include <fmt/format.h>

namespace llm {
namespace {

constexpr std::string_view page_style =
    ":root{color-scheme:light dark;--ink:#1c1f23;--soft:#6a7078;--line:#e3e6ea;--page:#fff;--best:#e6f1fb}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa1a9;--line:#33383e;--page:#15181b;"
    "--best:#1d3447}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;padding:20px 16px 48px;max-width:1360px;background:var(--page);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}"
    "h1{font-size:24px;line-height:1.25;margin:8px 0;overflow-wrap:anywhere;text-wrap:balance}"
    "h2{font-size:18px;margin:36px 0 8px}p,ul{max-width:75ch}section+section{margin-top:72px}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:3px 10px;text-align:right;white-space:nowrap}thead th{border-bottom:1px solid var(--soft)}"
    "tbody{border-bottom:1px solid var(--line)}"
    "th:first-child{position:sticky;left:0;background:var(--page);text-align:left;font-weight:400}"
    "thead th:first-child,.group th{font-weight:600}.group th{padding-top:8px}.best{font-weight:700}"
    ".best span{background:var(--best);border-radius:3px;padding:1px 4px;margin:0 -4px}"
    ".best i{display:inline-block;width:0;font-style:normal;text-indent:3px}"
    ".notes{color:var(--soft);font-size:13px;list-style:none;padding:0}.notes li{margin:3px 0}"
    ".plots{display:grid;gap:32px 28px;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}"
    "figure{margin:0;min-width:0}.lone{max-width:520px}"
    "details{margin:8px 0}details[open] "
    "summary{margin-bottom:10px}summary{cursor:pointer;overflow-wrap:anywhere}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px}dt{color:var(--soft)}"
    "dd{margin:0;overflow-wrap:anywhere}"
    "code{font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}";

}  // namespace

std::string page(const std::vector<page_section>& sections) {
    std::string titles;
    for (const auto& section : sections)
        titles += (titles.empty() ? "" : "; ") + escaped(section.title);
    std::string out =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>" +
        titles + "</title><style>" + std::string(page_style) + plot_style() + heat_map_style() +
        spectrum_chart_style() + "</style></head>\n<body>";
    for (const auto& section : sections)
        out += "<section><h1>" + escaped(section.title) + "</h1>" + section.body + "</section>\n";
    return out + "</body></html>\n";
}

void fact_list::add(std::string_view name, const std::string& text) {
    if (!text.empty()) rows_ += fmt::format("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(text));
}

void fact_list::add_code(std::string_view name, const std::string& text) {
    if (!text.empty())
        rows_ += fmt::format("<dt>{}</dt><dd><code>{}</code></dd>", escaped(name), escaped(text));
}

std::string typeset(const std::string& text) {
    return text.starts_with('-') ? "−" + text.substr(1) : text;
}

}  // namespace llm
