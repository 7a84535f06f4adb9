// SPDX-License-Identifier: MIT
// Pages from the JSON that other subcommands write.
#include "../report.hpp"

#include "../compression_report.hpp"
#include "../files.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <memory>
#include <stdexcept>

namespace llm::commands {
namespace {

namespace fs = std::filesystem;

struct report_arguments {
    std::vector<fs::path> reports;
    fs::path output;
};

/// What the file is shows in its keys: a comparison has rows.
page_section section_of(const fs::path& path) {
    const auto json = read_json(path);
    try {
        if (!is_compression_report(json) && json.contains("rows")) return comparison_section(from_json(json));
        return compression_section(read_compression_report(json));
    } catch (const nsvd::error& e) {
        throw nsvd::error(
            fmt::format("{}: not a report of compress or compare: {}", path.string(), e.what()));
    } catch (const std::invalid_argument& e) {
        throw nsvd::error(fmt::format("{}: {}", path.string(), e.what()));
    }
}

void run(const report_arguments& a) {
    const output page_out(a.output);
    std::vector<page_section> sections;
    for (const auto& path : a.reports)
        sections.push_back(section_of(path));
    page_out.write(page(sections));
    if (!page_out.is_standard_output()) fmt::print("{}\n", a.output.string());
}

}  // namespace

void add_report(CLI::App& app) {
    const auto a = std::make_shared<report_arguments>();
    auto* report = app.add_subcommand("report", "page of what compress or compare has reported");
    report
        ->add_option("reports", a->reports,
                     "report.json of a compressed folder, or what compare --json wrote")
        ->required();
    report->add_option("--output", a->output, "page to write; - is standard output")
        ->required()
        ->check(given("the name of a file"));
    report->footer("Example: nsvd-llm report DIR-30/report.json --output report.html");
    report->callback([a] { run(*a); });
}

}  // namespace llm::commands
