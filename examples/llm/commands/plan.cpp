// SPDX-License-Identifier: MIT
// How long compressing a model will take, on how many machines.
#include "../plan.hpp"

#include "../cells.hpp"
#include "../files.hpp"
#include "../machine.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <algorithm>
#include <memory>

namespace llm::commands {
namespace {

namespace fs = std::filesystem;

struct plan_arguments {
    std::vector<fs::path> configs;
    fs::path json;
    std::string method = "nsvd-1";
    double compression = 0.3;
    std::vector<std::int64_t> machines{1, 8, 64}, sizes{1024, 2048};
    plan_assumptions given;
    unsigned threads = 0;
};

void run(const plan_arguments& a) {
    check_compression(a.compression);
    auto r = parse_recipe(a.method);
    r.compression = a.compression;
    if (r.anchored || r.own_text || r.tuned || r.tuned_once || r.joint || r.ranks != rank_rule::uniform)
        throw nsvd::error(a.method +
                          ": plan knows methods that take one pass of text and decompose each layer "
                          "once: give one without features but pivoted and bias");
    const output json_out(a.json);
    std::vector<config> shapes;
    for (const auto& path : a.configs)
        shapes.push_back(read_config(path));
    const auto speed = [&] {
        progress bar(3 * a.sizes.size());
        bar.label("measuring this machine");
        return measure_speed(r, a.sizes, a.threads, bar);
    }();
    nlohmann::ordered_json all{{"nsvd", NSVD_VERSION},
                               {"machine", machine_description(a.threads)},
                               {"date", today()},
                               {"method", a.method},
                               {"compression", a.compression},
                               {"gflops",
                                {{"decomposition", speed.decomposition / 1e9},
                                 {"product", speed.product / 1e9},
                                 {"update", speed.update / 1e9},
                                 {"spread", speed.spread()}}},
                               {"models", nlohmann::ordered_json::array()}};
    for (const auto& layer : speed.layers)
        all["layers"].push_back({{"m", layer.rows},
                                 {"n", layer.cols},
                                 {"rank", layer.rank},
                                 {"gflop", layer.flops / 1e9},
                                 {"seconds", layer.seconds}});
    std::string text = fmt::format(
        "{}, {}: decomposition {:.0f} GFLOP/s (layers of {} measured: within {:.2f} times of it), products "
        "{:.0f}, statistics {:.0f}\n",
        machine_description(a.threads), today(), speed.decomposition / 1e9,
        fmt::format("{} to {}", *std::min_element(a.sizes.begin(), a.sizes.end()) / 2,
                    *std::max_element(a.sizes.begin(), a.sizes.end())),
        speed.spread(), speed.product / 1e9, speed.update / 1e9);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        std::vector<plan_row> rows;
        auto json = nlohmann::ordered_json::array();
        for (const auto machines : a.machines) {
            rows.push_back(plan(shapes[i], r, speed, a.given, machines));
            json.push_back(to_json(rows.back()));
        }
        all["models"].push_back({{"config", a.configs[i].string()},
                                 {"linear_parameters", linear_parameters(shapes[i])},
                                 {"rows", json}});
        text += fmt::format(
            "\n{}: {:.1f} billion numbers in linear layers, {} at {:g} %; statistics {} in all\n",
            a.configs[i].filename().string(), linear_parameters(shapes[i]) / 1e9, r.label,
            100 * a.compression, bytes_text(plan(shapes[i], r, speed, a.given, 1).statistics_bytes));
        text += print_table(rows);
    }
    text += fmt::format(
        "\nAssumed: {} windows of {} tokens; a machine is {:g} times as fast as this one, reads and writes "
        "{:g} GB/s "
        "and has {:g} GB/s to each other; one process a machine; nothing overlaps.\n",
        a.given.windows, a.given.context, a.given.machine, a.given.disk, a.given.network);
    json_out.write(dump(all));
    if (!json_out.is_standard_output()) fmt::print("{}", text);
}

}  // namespace

void add_plan(CLI::App& app) {
    const auto a = std::make_shared<plan_arguments>();
    auto* plan = app.add_subcommand("plan", "how long compress will take, on how many machines");
    plan->add_option("--config", a->configs, "config.json of a model; may be given again")->required();
    plan->add_option("--method", a->method, "as in compress, of one pass")->capture_default_str();
    plan->add_option("--compression", a->compression, "share of the parameters to remove")
        ->capture_default_str();
    plan->add_option("--machines", a->machines, "how many, one process each")
        ->delimiter(',')
        ->capture_default_str()
        ->check(positive());
    plan->add_option("--sizes", a->sizes, "layers that are decomposed to measure this machine")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::Range(64, 16384));
    plan->add_option("--speed", a->given.machine, "how many times as fast as this one a machine is")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    plan->add_option("--network", a->given.network, "GB/s from one machine to another")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    plan->add_option("--disk", a->given.disk, "GB/s that a machine reads or writes")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    plan->add_option("--windows", a->given.windows, "of the calibration text")
        ->capture_default_str()
        ->check(positive());
    plan->add_option("--context", a->given.context, "tokens of a window")
        ->capture_default_str()
        ->check(positive());
    plan->add_option("--threads", a->threads, "threads (default: one a processor)")->check(positive());
    plan->add_option("--json", a->json, "write the result as JSON; - is standard output")
        ->check(given("the name of a file"));
    plan->footer("Example: nsvd-llm plan --config examples/data/llama-7b.json --machines 1,8,64");
    plan->callback([a] { run(*a); });
}

}  // namespace llm::commands
