// SPDX-License-Identifier: MIT
// Weights that stay in the file, statistics of one block at a time, text that lies in files: all give the
// bits that memory gives.
#include "stream.hpp"

#include "calibrate.hpp"
#include "compress.hpp"
#include "journal.hpp"
#include "perplexity.hpp"
#include "save.hpp"
#include "shards.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <filesystem>

namespace fs = std::filesystem;
using llm_test::error_of;
using llm_test::read;
using llm_test::recipe_at;

namespace {

llm_test::random_model larger() {
    llm_test::random_model source;
    source.hidden = 32;
    source.head_dim = 8;
    source.inter = 48;
    source.blocks = 3;
    source.biased_inputs = true;
    source.model_type = "qwen2";
    return source;
}

struct way {
    const char* name;
    llm::residence where;
    bool low_memory, kept;
};

constexpr std::array ways{way{"in memory, kept", llm::residence::in_memory, false, true},
                          way{"in the file", llm::residence::in_file, false, false},
                          way{"block by block", llm::residence::in_memory, true, false},
                          way{"low memory", llm::residence::in_file, true, true}};

/// The files of a model compressed in one way.
std::string compressed(const fs::path& model, const std::string& recipe, const way& how,
                       const std::vector<std::string>& keep_dense = {}) {
    const auto source = larger();
    auto other = source;
    other.seed = 5;
    const llm_test::scratch out;
    llm::model m(model, how.where);
    llm::journal kept;
    std::optional<llm::journal> folder;
    if (how.kept) folder.emplace(out / "model", nlohmann::ordered_json{{"recipe", recipe}}, false);
    llm::progress silent;
    llm::compression_input input{.calibration = source.tokens(200),
                                 .calibration_name = "text",
                                 .sample = {.context = 20},
                                 .held_out = other.tokens(100),
                                 .held_out_name = "held out",
                                 .keep_dense = keep_dense,
                                 .threads = 2,
                                 .kept = folder ? &*folder : nullptr,
                                 .low_memory = how.low_memory};
    const auto records = llm::compressor(m, std::move(input), silent).run(recipe_at(recipe, 0.3));
    nlohmann::ordered_json about;
    for (const auto& record : records)
        about[record.name] = {record.rank, record.bytes, record.weighted_error, record.plain_error};
    llm::save_model(m, out / "model", about, false);
    if (folder) folder->finish();
    CHECK_FALSE(fs::exists(out / "model.partial"));
    return read(out / "model/model.safetensors") + read(out / "model/config.json");
}

}  // namespace

TEST_CASE("layers in the file give what layers in memory give", "[llm][residence]") {
    const llm_test::small_model where(larger());
    const auto tokens = where.source().tokens(200);
    const llm::model memory(where.path()), file(where.path(), llm::residence::in_file);
    CHECK(memory.forward(tokens).leftCols(3).allFinite());
    CHECK(file.layer(0).deferred() != nullptr);
    for (std::size_t i = 0; i < memory.layers(); ++i) {
        CHECK(file.layer(i).product() == memory.layer(i).product());
        CHECK(file.layer(i).parameters() == memory.layer(i).parameters());
        CHECK(llm::stored_bytes(file.layer(i), file.layer_dtype(i)) ==
              llm::stored_bytes(memory.layer(i), memory.layer_dtype(i)));
        CHECK(llm::rounded(file.layer(i), nsvd::safetensors::dtype::F16, "a").product() ==
              llm::rounded(memory.layer(i), nsvd::safetensors::dtype::F16, "a").product());
    }
    llm::progress silent;
    const auto a = llm::evaluate(memory, tokens, 20, "text", 1, silent);
    const auto b = llm::evaluate(file, tokens, 20, "text", 2, silent);
    CHECK(a.window_nll == b.window_nll);
}

TEST_CASE("every recipe gives the same bytes in every way", "[llm][residence]") {
    const llm_test::small_model where(larger());
    const way in_memory{"in memory", llm::residence::in_memory, false, false};
    std::vector<std::string> recipes{"asvd-1+measured+pivoted",
                                     "asvd-2+greedy",
                                     "nsvd-1+anchored",
                                     "nid-1+anchored+bias+joint",
                                     "best",
                                     "nsvd-2+tuned",
                                     "asvd-0+bias+loss-group",
                                     "nid-2+joint+pivoted+tuned-once",
                                     "svd+sensitivity",
                                     "best+bias+joint+tuned",
                                     "asvd-1+own-text+bias"};
    for (const auto& method : llm::methods)
        recipes.emplace_back(method.name);
    for (const auto& recipe : recipes) {
        const auto expected = compressed(where.path(), recipe, in_memory);
        for (const auto& how : ways) {
            CAPTURE(recipe, how.name);
            CHECK(compressed(where.path(), recipe, how) == expected);
        }
    }
    for (const auto& how : ways) {
        CAPTURE(how.name);
        for (const auto* recipe : {"asvd-1+greedy", "nsvd-1+anchored"})
            CHECK(compressed(where.path(), recipe, how, {"spiking", "v_proj"}) ==
                  compressed(where.path(), recipe, in_memory, {"spiking", "v_proj"}));
    }
}

TEST_CASE("a stream goes to any block, from files or from the tokens", "[llm][stream]") {
    const llm_test::small_model where(larger());
    const llm::model m(where.path());
    llm::weighted_windows windows;
    windows.add(where.windows(3, 12), 36);
    windows.add(where.windows(2, 7), 14);
    const llm_test::scratch out;
    const llm::journal none;
    const llm::journal kept(out / "x", {{"job", 1}}, false);
    const auto walk = [&](llm::text_stream& stream, std::size_t block) {
        stream.rewind(block);
        CHECK(stream.block() <= block);
        while (stream.block() < block) {
            const auto at = stream.block();
            stream.advance(
                2, [&](std::size_t, llm::window_pass& pass) { m.pass_through(at, m.block(at), pass); });
        }
        std::vector<Eigen::MatrixXf> residuals;
        for (std::size_t i = 0; i < stream.size(); ++i)
            residuals.push_back(stream.take(i).residual);
        return residuals;
    };
    llm::text_stream a(m, windows, none, ""), b(m, windows, kept, "text");
    for (const std::size_t block : {0U, 3U, 2U, 1U, 2U, 3U, 0U, 1U}) {
        CAPTURE(block);
        CHECK(walk(a, block) == walk(b, block));
    }
    (void)walk(b, 3);
    // The block that was passed last is looked at again without passing those before it.
    b.rewind(2);
    CHECK(b.block() == 2);
    // Files that others have touched.
    fs::resize_file(out / "x.partial/text-00002.stream", 100);
    CHECK(error_of([&] { (void)b.take(0); }).find("cut off") != std::string::npos);
    llm::text_stream c(m, windows, kept, "text");
    CHECK(error_of([&] { c.rewind(2); }).find("text-00002.stream: is damaged: remove it") !=
          std::string::npos);
    // A window that fails does not leave the others waiting for it.
    llm::progress silent;
    CHECK_THROWS_AS(llm::gather_block(m, m.block(2), b, nsvd::moments::raw, 4, silent), nsvd::error);
    CHECK_FALSE(fs::exists(out / "x.partial/text-00003.stream.new"));
}

TEST_CASE("statistics block by block are those of one pass", "[llm][stream]") {
    const llm_test::small_model where(larger());
    const llm::model m(where.path());
    llm::weighted_windows windows;
    windows.add(where.windows(5, 12), 36);
    llm::progress silent;
    const auto layers = llm_test::layers_of(m);
    const llm_test::scratch out;
    const llm::journal kept(out / "x", {{"job", 1}}, false);
    for (const auto about : {nsvd::moments::raw, nsvd::moments::central}) {
        const auto expected = llm::gather(m, windows, about, 3, silent);
        const auto name = about == nsvd::moments::raw ? "raw" : "central";
        llm::input_statistics found(
            std::make_unique<llm::statistics_of_text>(m, layers, windows, about, kept, name, 2, silent),
            llm::input_statistics::memory::one_block);
        for (const std::size_t block : {0U, 1U, 2U, 1U, 0U, 2U, 2U}) {
            const auto& sites = found.block(block);
            REQUIRE(sites.size() == m.block_sites().size());
            for (std::size_t s = 0; s < sites.size(); ++s) {
                CHECK(sites[s].gram() == expected[block * m.block_sites().size() + s].gram());
                CHECK(sites[s].tokens() == 60);
            }
        }
    }
}
