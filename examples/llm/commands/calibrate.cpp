// SPDX-License-Identifier: MIT
// Statistics of a text, or several files of them in one.
#include "../calibrate.hpp"

#include "../assignment.hpp"
#include "../calibration_set.hpp"
#include "../compare.hpp"
#include "../files.hpp"
#include "../job.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/error.hpp>
#include <nsvd/version.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace llm::commands {
namespace {

using json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct calibrate_arguments {
    model_options model;
    fs::path calibration, output;
    std::vector<fs::path> merge;
    std::size_t windows = sampling{}.windows;
    std::uint64_t seed = 0;
    bool own_text = false, central = false, force = false, restart = false;
    std::string command_line;
};

void check_target(const calibrate_arguments& a) {
    if (fs::is_directory(a.output))
        throw nsvd::error(a.output.string() + ": is a folder: give the name of a file");
    if (!a.force && fs::exists(a.output))
        throw nsvd::error(a.output.string() + ": exists: give another --output, or --force");
}

/// Whether the file is there already; what a run that was stopped at its end has left beside it goes.
bool is_complete(const calibrate_arguments& a, const json& job) {
    if (a.restart || !is_calibration_set_of(a.output, job)) return false;
    if (fs::exists(partial_folder(a.output))) journal(a.output, job, false).finish();
    return true;
}

void show(const calibrate_arguments& a, const output& json_out) {
    const calibration_set written(a.output);
    json result{{"nsvd", NSVD_VERSION},
                {"output", a.output.string()},
                {"inputs", written.prefixes().size()},
                {"tokens", written.at(written.prefixes().front()).tokens()}};
    if (!a.model.model.empty()) result["model"] = a.model.model.string();
    json_out.write(dump(result));
    if (!json_out.is_standard_output())
        fmt::print("{}: statistics of {} inputs, {} tokens\n", a.output.string(),
                   result.at("inputs").get<std::size_t>(), result.at("tokens").get<std::int64_t>());
}

void merge(const calibrate_arguments& a, const processes& world) {
    if (!world.alone()) throw nsvd::error("--merge runs in one process: start it without mpirun");
    if (!a.model.model.empty() || !a.calibration.empty())
        throw nsvd::error("--merge adds files of statistics: no --model and no --calibration with it");
    const output json_out(a.model.json);
    std::vector<calibration_set> sets;
    json job{{"merge", json::array()}};
    for (const auto& path : a.merge) {
        if (fs::exists(a.output) && fs::equivalent(path, a.output))
            throw nsvd::error(path.string() + ": is added to and written: give another --output");
        sets.emplace_back(path);
        job["merge"].push_back(identity_of(path));
        if (sets.back().prefixes() != sets.front().prefixes() || sets.back().about() != sets.front().about())
            throw nsvd::error(
                fmt::format("{} and {}: statistics of different models, or raw and central ones",
                            a.merge.front().string(), path.string()));
    }
    if (is_complete(a, job)) return show(a, json_out);
    check_target(a);
    journal kept(a.output, job, a.restart);
    const auto& prefixes = sets.front().prefixes();
    {
        progress bar(prefixes.size());
        write_calibration_set(
            a.output, prefixes,
            [&](std::size_t i) {
                bar.step();
                auto sum = sets.front().at(prefixes[i]);
                for (std::size_t s = 1; s < sets.size(); ++s) {
                    try {
                        sum.merge(sets[s].at(prefixes[i]));
                    } catch (const nsvd::error& e) {
                        throw nsvd::error(fmt::format("{} and {}: {}: {}", a.merge.front().string(),
                                                      a.merge[s].string(), prefixes[i], e.what()));
                    }
                }
                return sum;
            },
            {{"nsvd", NSVD_VERSION}, {"command", a.command_line}}, kept, world, {},
            [&] { check_unchanged(job.at("merge")); });
    }
    kept.finish();
    show(a, json_out);
}

void gather(calibrate_arguments a, const processes& world) {
    a.model.threads = world.threads(a.model.threads);
    if (a.model.model.empty() || a.calibration.empty())
        throw nsvd::error("want --model and --calibration, or files to add with --merge");
    const output json_out(world.is_first() ? a.model.json : fs::path());
    // A block is read once for all windows, but text of the model's own wants all of them for each token.
    const auto model = read_model(a.model.model, a.own_text ? residence::in_memory : residence::in_file);
    const auto text = read_tokens(a.calibration, model.folder(), model.shape().vocab_size);
    const sampling sample{context_of(model, a.model.context), a.windows, a.seed};
    auto windows = draw_text(text, sample, a.calibration.string());
    const json job{
        {"nsvd", NSVD_VERSION},      {"model", identity_of(model)}, {"calibration", identity_of(text)},
        {"context", sample.context}, {"windows", sample.windows},   {"seed", sample.seed},
        {"own_text", a.own_text},    {"central", a.central}};
    if (world.any(world.is_first() && is_complete(a, job))) {
        if (world.is_first()) show(a, json_out);
        return;
    }
    check_target(a);
    journal kept(a.output, job, a.restart, world);
    std::vector<linear> layers;
    for (std::size_t i = 0; i < model.layers(); ++i)
        layers.push_back(model.layer(i));
    std::vector<std::string> prefixes;
    std::vector<double> sizes;
    for (std::size_t block = 0; block < model.shape().blocks; ++block)
        for (const auto& where : model.block_sites()) {
            prefixes.push_back(site_prefix(model, block, where));
            const auto n = static_cast<double>(model.site_features(sizes.size()));
            sizes.push_back(n * n);
        }
    const auto owners = assign(sizes, world.count());
    {
        progress bar(1);
        bar.label("calibration");
        if (a.own_text) add_own_text(windows, model, a.seed, a.model.threads, kept, bar, world);
        const auto share = windows.share(world.own(), world.count());
        const auto name = world.alone() ? "text" : fmt::format("text-{}-of-{}", world.own(), world.count());
        input_statistics statistics(
            std::make_unique<distributed_statistics>(
                std::make_unique<statistics_of_text>(model, layers, share,
                                                     a.central ? nsvd::moments::central : nsvd::moments::raw,
                                                     kept, name, a.model.threads, bar),
                distributed_statistics::parts::shares, model, world,
                [&](std::size_t block, const site& where) {
                    return std::vector<int>{owners[model.site_index(block, where)]};
                }),
            input_statistics::memory::one_block);
        write_calibration_set(
            a.output, prefixes,
            [&](std::size_t i) {
                const auto in_block = model.block_sites().size();
                return statistics.block(i / in_block)[i % in_block];
            },
            {{"nsvd", NSVD_VERSION},
             {"command", a.command_line},
             {"model_type", model.shape().model_type},
             {"calibration", a.calibration.filename().string()},
             {"context", std::to_string(sample.context)},
             {"windows", std::to_string(windows.windows.size())},
             {"seed", std::to_string(sample.seed)}},
            kept, world, owners, [&] { check_unchanged(model, job); });
    }
    kept.finish();
    if (world.is_first()) show(a, json_out);
}

}  // namespace

void add_calibrate(CLI::App& app, const std::string& command_line, const processes& world) {
    const auto a = std::make_shared<calibrate_arguments>();
    a->command_line = command_line;
    auto* calibrate = app.add_subcommand("calibrate", "save statistics of a text, for compress --statistics");
    a->model.declare(*calibrate, false);
    declare_calibration(*calibrate, a->calibration, a->windows, a->seed, false);
    calibrate->add_flag("--own-text", a->own_text, "the model's own and random text as well");
    calibrate->add_flag("--central", a->central, "moments about the mean, for compress --bias");
    calibrate->add_option("--merge", a->merge, "files to add, in place of passing a text through a model");
    calibrate->add_option("--output", a->output, "file to write: calibration.safetensors")->required();
    calibrate->add_flag("--force", a->force, "replace a file that exists");
    calibrate->add_flag("--restart", a->restart,
                        "discard what an interrupted run has left in OUTPUT.partial");
    calibrate->footer(
        "What is finished lies in OUTPUT.partial: a run that was interrupted goes on when it is started "
        "again. Under mpirun -np N, N processes share the text.\n\nExamples: nsvd-llm calibrate --model DIR "
        "--calibration calibration.txt --output "
        "news.safetensors\n          nsvd-llm calibrate --merge news.safetensors code.safetensors --output "
        "both.safetensors");
    calibrate->callback([a, &world] {
        world.agree();
        a->merge.empty() ? gather(*a, world) : merge(*a, world);
    });
}

}  // namespace llm::commands
