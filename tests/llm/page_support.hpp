// SPDX-License-Identifier: MIT
// What tests ask about pages.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace llm_test {

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

inline std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++found;
    return found;
}

/// Every tag is closed in its order, every ampersand begins an entity that XML knows.
inline bool well_formed(const std::string& page) {
    std::vector<std::string> open;
    for (std::size_t i = page.find('\n'); i < page.size(); ++i) {  // after the doctype
        if (page[i] == '&') {
            const auto entity = page.substr(i, page.find(';', i) - i);
            if (entity != "&amp" && entity != "&lt" && entity != "&gt" && entity != "&quot" &&
                entity != "&#39") {
                return false;
            }
        }
        if (page[i] != '<') continue;
        const auto end = page.find('>', i);
        if (end == std::string::npos) return false;
        const auto tag = page.substr(i + 1, end - i - 1);
        if (contains(tag, "<")) return false;
        if (tag.front() == '/') {
            if (open.empty() || open.back() != tag.substr(1)) return false;
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(tag.substr(0, tag.find(' ')));
        }
        i = end;
    }
    return open.empty();
}

/// Nothing is fetched, and no script runs.
inline bool stands_alone(const std::string& page) {
    for (const auto* part : {"<script", "http", "src=", "href=", "url(", "@import", "<link"})
        if (contains(page, part)) return false;
    return true;
}

}  // namespace llm_test
