// SPDX-License-Identifier: MIT
// What is in a model folder.
#include "../inspect.hpp"

#include "../files.hpp"
#include "../terminal.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <memory>
#include <utility>

namespace llm::commands {
namespace {

struct inspect_arguments {
    std::filesystem::path folder, json;
    unsigned threads = 0;
    bool spectra = false;
};

void run(const inspect_arguments& a) {
    const output json_out(a.json);
    const model m(a.folder, residence::in_file);
    const auto found = [&] {
        progress bar(m.layers());
        return inspect(m, a.spectra ? spectra::computed : spectra::as_reported, a.threads, bar);
    }();
    nlohmann::ordered_json result{{"nsvd_version", NSVD_VERSION}};
    result.update(to_json(found));
    json_out.write(dump(result));
    if (!json_out.is_standard_output())
        fmt::print("{}", print_inspection(found, terminal_width(), terminal_has_colours()));
}

}  // namespace

void add_inspect(CLI::App& app) {
    const auto a = std::make_shared<inspect_arguments>();
    auto* inspect = app.add_subcommand("inspect", "layers of a model folder: shapes, ranks, bytes, spectra");
    inspect->add_option("model", a->folder, "model folder, dense or compressed")->required();
    inspect->add_flag(
        "--spectra", a->spectra,
        "singular values of each layer, computed where the folder has no report.json with them");
    inspect->add_option("--threads", a->threads, "threads (default: one a processor)")->check(positive());
    inspect->add_option("--json", a->json, "write the result as JSON; - is standard output")
        ->check(given("the name of a file"));
    inspect->footer("Example: nsvd-llm inspect DIR-30 --spectra");
    inspect->callback([a] { run(*a); });
}

}  // namespace llm::commands
