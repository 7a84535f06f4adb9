// SPDX-License-Identifier: MIT
// Writing a compressed model folder.
#include "../compress.hpp"

#include "../compare.hpp"
#include "../compression_report.hpp"
#include "../files.hpp"
#include "../job.hpp"
#include "../journal.hpp"
#include "../json_reader.hpp"
#include "../machine.hpp"
#include "../perplexity.hpp"
#include "../save.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace llm::commands {
namespace {

using json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* texts_entry = "texts.json";

struct compress_arguments {
    model_options model;
    recipe_options recipe;
    std::string method, dtype;
    std::vector<fs::path> statistics;
    std::string use = "pooled";
    std::vector<std::string> texts;
    double compression = 0;
    fs::path output;
    bool force = false, restart = false, low_memory = false;
    std::string command_line;
};

nsvd::safetensors::dtype find_dtype(const std::string& name) {
    using nsvd::safetensors::dtype;
    return name == "f32" ? dtype::F32 : name == "f16" ? dtype::F16 : dtype::BF16;
}

std::vector<token> tokens_of(const model& m, const fs::path& path) {
    if (path.empty()) return {};
    return read_tokens(path, m.folder(), m.shape().vocab_size);
}

/// Everything that the weights depend on.
json job_of(const compress_arguments& a, const recipe& r, const model& m, const compression_input& input) {
    json job{{"nsvd", NSVD_VERSION},
             {"model", identity_of(m)},
             {"method", r.name},
             {"compression", a.compression},
             {"share", r.share},
             {"epsilon", r.epsilon},
             {"context", input.sample.context},
             {"windows", input.sample.windows},
             {"seed", input.sample.seed}};
    if (!input.calibration.empty()) job["calibration"] = identity_of(input.calibration);
    if (!input.held_out.empty()) job["held_out"] = identity_of(input.held_out);
    for (const auto& path : input.statistics)
        job["statistics"].push_back(identity_of(path));
    if (input.statistics.size() > 1) job["use"] = a.use;
    if (!input.keep_dense.empty()) job["keep_dense"] = input.keep_dense;
    if (m.stored_as()) job["dtype"] = name_of(*m.stored_as());
    return job;
}

/// Whether the folder has the result of this very job: reports get their names last.
bool is_complete(const json& job, const fs::path& output) {
    const auto report = output / "report.json";
    if (!fs::exists(report)) return false;
    try {
        if (!same_job(read_json(report).value("job", json()), job)) return false;
        (void)checkpoint(output);  // its weights may be gone, or cut
        return true;
    } catch (const nsvd::error&) {
        return false;  // something else of that name
    }
}

/// A result that is there already is not measured again.
void require_texts(const json& report, const compress_arguments& a) {
    const auto measured = read_compression_report(report).texts;
    for (const auto& [name, path] : named_texts(a.texts))
        if (std::none_of(measured.begin(), measured.end(),
                         [&](const auto& text) { return text.name == name; }))
            throw nsvd::error(
                fmt::format("{}: is there already, without the text '{}': measure it with "
                            "nsvd-llm evaluate, or give another --output",
                            a.output.string(), name));
}

void show(const output& json_out, const json& report) {
    json_out.write(dump(report));
    if (!json_out.is_standard_output()) fmt::print("{}", printed(read_compression_report(report)));
}

struct measured_text {
    std::string name, file;
    std::vector<token> tokens;
};

json evaluate_texts(const std::vector<measured_text>& texts, const compress_arguments& a, const model& m,
                    std::size_t context, progress& bar, const processes& world) {
    auto results = json::array();
    for (const auto& [name, file, tokens] : texts) {
        bar.label(name);
        bar.expect(evaluation_steps(m, tokens.size(), context) / world.count());
        const auto result = evaluate(m, tokens, context, file, a.model.threads, bar, world);
        results.push_back({{"nll", result.nll}, {"perplexity", result.perplexity}});
    }
    return results;
}

/// What the texts are before anything is compressed; kept, as long as they stay the same.
json evaluate_dense(const std::vector<measured_text>& texts, const compress_arguments& a, const model& m,
                    std::size_t context, const journal& kept, progress& bar, const processes& world) {
    json tokens = json::array();
    for (const auto& text : texts)
        tokens.push_back(identity_of(text.tokens));
    const auto before = kept.find(texts_entry);
    if (!world.any(!before || before->at("tokens") != tokens)) return before->at("results");
    auto results = evaluate_texts(texts, a, m, context, bar, world);
    if (!texts.empty() && world.is_first())
        kept.keep(texts_entry, {{"tokens", tokens}, {"results", results}});
    return results;
}

void run(compress_arguments a, const processes& world) {
    a.model.threads = world.threads(a.model.threads);
    check_compression(a.compression);
    std::vector<recipe> recipes{a.recipe.find(a.method)};
    a.recipe.tune_all(recipes);
    auto& recipe = recipes.front();
    recipe.compression = a.compression;
    if (a.recipe.calibration.empty() && a.statistics.empty())
        throw nsvd::error("no calibration: give a text with --calibration, or statistics with --statistics");
    const output json_out(world.is_first() ? a.model.json : fs::path());
    auto model = read_model(a.model.model, residence_of(a.low_memory));
    require_dense(model);
    if (!a.dtype.empty()) model.store_as(find_dtype(a.dtype));
    compression_input input{
        .calibration = tokens_of(model, a.recipe.calibration),
        .calibration_name = a.recipe.calibration.string(),
        .sample = {context_of(model, a.model.context), a.recipe.windows, a.recipe.seed},
        .held_out = tokens_of(model, a.recipe.tune),
        .held_out_name = a.recipe.tune.string(),
        .keep_dense = a.recipe.keep_dense,
        .threads = a.model.threads,
        .statistics = a.statistics,
        .use = a.use == "stages" ? statistics_use::stages : statistics_use::pooled,
        .kept = nullptr,
        .low_memory = a.low_memory,
        .world = &world,
    };
    const auto sample = input.sample;
    const auto job = job_of(a, recipe, model, input);
    if (world.any(world.is_first() && !a.restart && is_complete(job, a.output))) {
        if (!world.is_first()) return;
        if (fs::exists(partial_folder(a.output))) journal(a.output, job, false).finish();
        const auto report = read_json(a.output / "report.json");
        require_texts(report, a);
        show(json_out, report);
        return;
    }
    check_output(model, a.output, a.force);
    journal kept(a.output, job, a.restart, world);
    input.kept = &kept;
    const auto start = std::chrono::steady_clock::now();
    std::vector<layer_result> layers;
    std::int64_t calibration_tokens = 0;
    std::vector<measured_text> measured;
    for (const auto& [name, path] : named_texts(a.texts))
        measured.push_back({name, path.string(), tokens_of(model, path)});
    json dense_texts, texts;
    {
        progress bar((model.layers() + world.count() - 1) / world.count());
        dense_texts = evaluate_dense(measured, a, model, sample.context, kept, bar, world);
        compressor compress(model, std::move(input), bar);
        calibration_tokens = compress.calibration_tokens();
        layers = compress.run(recipe);
        texts = evaluate_texts(measured, a, model, sample.context, bar, world);
    }
    json about{{"version", NSVD_VERSION},   {"method", recipe.name},       {"compression", a.compression},
               {"share", a.recipe.share},   {"epsilon", a.recipe.epsilon}, {"seed", sample.seed},
               {"windows", sample.windows}, {"context", sample.context}};
    if (!a.recipe.calibration.empty())
        about["calibration"] = {{"file", a.recipe.calibration.filename().string()},
                                {"tokens", calibration_tokens}};
    for (const auto& path : a.statistics)
        about["statistics"].push_back(path.filename().string());
    if (a.statistics.size() > 1) about["use"] = a.use;
    if (!a.recipe.tune.empty()) about["held_out"] = a.recipe.tune.filename().string();
    if (!a.recipe.keep_dense.empty()) about["keep_dense"] = a.recipe.keep_dense;
    if (!a.dtype.empty()) about["dtype"] = a.dtype;
    for (const auto& layer : layers)
        about["rank"][layer.name] = layer.rank;
    compression_report report{
        .nsvd = NSVD_VERSION,
        .command = a.command_line,
        .date = today(),
        .machine = machine_description(a.model.threads),
        .model = model.folder().string(),
        .output = a.output.string(),
        .method = recipe.name,
        .label = recipe.label,
        .compression = a.compression,
        .options = about,
        .job = job,
        .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
        .mpi_ranks = static_cast<std::int64_t>(world.count()),
        .layers = layers,
    };
    for (const auto* key : {"version", "method", "compression", "calibration", "rank"})
        report.options.erase(key);
    if (!a.recipe.calibration.empty())
        report.calibration.push_back({a.recipe.calibration.filename().string(), calibration_tokens,
                                      calibration_tokens / static_cast<std::int64_t>(sample.context)});
    for (const auto& layer : layers) {
        report.dense_parameters += layer.m * layer.n;
        report.parameters += layer.parameters;
        report.dense_bytes += layer.dense_bytes;
        report.bytes += layer.bytes;
    }
    for (std::size_t i = 0; i < measured.size(); ++i) {
        const json_reader dense(dense_texts[i]), now(texts[i]);
        report.texts.push_back({measured[i].name, dense.at("perplexity").number(),
                                now.at("perplexity").number(), dense.at("nll").number(),
                                now.at("nll").number()});
    }
    const auto json_report = to_json(report);
    {
        progress bar(1);
        bar.label("writing the model");
        save_model(model, a.output, about, a.force,
                   {{"report.json", dump(json_report)}, {"report.html", compression_page(json_report)}}, &bar,
                   world, [&] {
                       kept.check_own();
                       check_unchanged(model, job);
                       if (job.contains("statistics")) check_unchanged(job.at("statistics"));
                   });
    }
    kept.finish();
    if (world.is_first()) show(json_out, json_report);
}

}  // namespace

void add_compress(CLI::App& app, const std::string& command_line, const processes& world) {
    const auto a = std::make_shared<compress_arguments>();
    a->command_line = command_line;
    auto* compress = app.add_subcommand("compress", "write a compressed model folder");
    a->model.declare(*compress);
    a->recipe.declare(*compress, true);
    compress->add_option("--compression", a->compression, "share of the parameters to remove")
        ->required()
        ->check(given("a share, like 0.3"));
    compress
        ->add_option("--method", a->method, "one of " + method_names() + "; features after +, as in compare")
        ->required();
    compress->add_option("--output", a->output, "folder to write")->required();
    compress->add_flag("--force", a->force, "write into a folder that is not empty");
    compress->add_option("--statistics", a->statistics,
                         "files of nsvd-llm calibrate, in place of gathering statistics; may be given again");
    compress->add_option("--combine", a->use, "several --statistics: one pooled metric, or a stage each")
        ->check(CLI::IsMember({"pooled", "stages"}))
        ->capture_default_str();
    compress->add_option("--text", a->texts,
                         "NAME=FILE: measure perplexity before and after; may be given again");
    compress->add_option("--dtype", a->dtype, "type of all numbers written (default: the model's own)")
        ->check(CLI::IsMember({"f32", "f16", "bf16"}));
    compress->add_flag("--low-memory", a->low_memory,
                       "weights stay in the file, statistics of one block at a time: slower");
    compress->add_flag("--restart", a->restart,
                       "discard what an interrupted run has left in OUTPUT.partial, and a result");
    compress->footer(about_best() +
                     "What is finished lies in OUTPUT.partial: a run that was interrupted goes on when it is "
                     "started again. Under mpirun -np N, N processes share the work.\n\n"
                     "Example: nsvd-llm compress --model DIR --calibration calibration.txt --compression 0.3 "
                     "--method best --output DIR-30");
    compress->callback([a, &world] {
        world.agree();
        run(*a, world);
    });
}

}  // namespace llm::commands
