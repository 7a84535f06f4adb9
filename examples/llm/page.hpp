// SPDX-License-Identifier: MIT
/// What all pages share: one HTML5 document that is XML as well. Nothing is fetched, no script runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llm {

/// A report on a page; the title is text, the body markup.
struct page_section {
    std::string title;
    std::string body;
};

/// The document: a heading and a body for each section, in the colours that the reader's system asks for.
[[nodiscard]] std::string page(const std::vector<page_section>& sections);

/// Names and values, one below the other.
class fact_list {
public:
    /// Nothing for an empty value.
    void add(std::string_view name, const std::string& text);
    void add_code(std::string_view name, const std::string& text);
    [[nodiscard]] std::string html() const { return "<dl>" + rows_ + "</dl>"; }

private:
    std::string rows_;
};

/// In prose and tables a minus is as wide as a plus.
[[nodiscard]] std::string typeset(const std::string& text);

}  // namespace llm
