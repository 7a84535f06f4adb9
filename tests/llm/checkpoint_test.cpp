// SPDX-License-Identifier: MIT
// Models in several files: read as one, written alike; indices that are wrong.
#include "checkpoint.hpp"

#include "compress.hpp"
#include "save.hpp"
#include "shards.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <filesystem>
#include <functional>

namespace fs = std::filesystem;
namespace st = nsvd::safetensors;
using llm_test::error_of;
using llm_test::read;
using llm_test::recipe_at;
using llm_test::shard_name;
using llm_test::small_model;

namespace {

void compress_to(const fs::path& from, const fs::path& to, const char* recipe,
                 std::optional<st::dtype> type = {}) {
    llm::model m(from);
    if (type) m.store_as(*type);
    llm::progress silent;
    const auto tokens = llm_test::random_model{}.tokens(200);
    llm::compressor compress(
        m, {.calibration = tokens, .calibration_name = "text", .sample = {.context = 20}, .threads = 1},
        silent);
    (void)compress.run(recipe_at(recipe, 0.3));
    llm::save_model(m, to, {{"method", recipe}}, false);
}

Eigen::MatrixXf logits_of(const fs::path& folder, llm::residence where = llm::residence::in_memory) {
    return llm::model(folder, where).forward(llm_test::random_model{}.tokens(40));
}

std::vector<std::byte> bytes_of(const st::view& view) {
    return {view.bytes.begin(), view.bytes.end()};
}

}  // namespace

TEST_CASE("a model in three files is the model in one, dense or compressed", "[llm][checkpoint]") {
    const small_model whole, parts;
    llm_test::split(parts.path(), 3);
    const llm::checkpoint file(parts.path());
    CHECK(file.has_index());
    CHECK(file.files().size() == 3);
    CHECK(file.path_of("model.norm.weight").filename().string().starts_with("model-0000"));
    CHECK(file.path_of("nothing") == parts.path());
    CHECK(error_of([&] { (void)file.at("nothing"); }) ==
          parts.path().string() + ": tensor 'nothing': is missing");
    const llm::checkpoint one(whole.path());
    CHECK(one.tensors().size() == file.tensors().size());
    for (const auto& name : one.tensors())
        CHECK(bytes_of(one.at(name)) == bytes_of(file.at(name)));
    CHECK(logits_of(whole.path()) == logits_of(parts.path()));
    CHECK(logits_of(whole.path()) == logits_of(parts.path(), llm::residence::in_file));
    for (const char* recipe : {"asvd-1+joint+pivoted+bias", "nsvd-1"}) {
        CAPTURE(recipe);
        const llm_test::scratch out;
        compress_to(whole.path(), out / "whole", recipe);
        compress_to(whole.path(), out / "split", recipe);
        // Left, right, pivots and bias of one layer are in different files now.
        llm_test::split(out / "split", 3);
        CHECK(logits_of(out / "whole") == logits_of(out / "split"));
        CHECK(logits_of(out / "whole") == logits_of(out / "split", llm::residence::in_file));
    }
}

TEST_CASE("what is written has as many files, and an index that is right", "[llm][checkpoint]") {
    for (const std::size_t count : {1U, 3U}) {
        for (const char* recipe : {"asvd-1+joint+pivoted", "nsvd-1", "asvd-1+bias"}) {
            CAPTURE(count, recipe);
            const small_model whole, parts;
            llm_test::split(parts.path(), count);
            const llm_test::scratch out;
            compress_to(whole.path(), out / "whole", recipe);
            compress_to(parts.path(), out / "split", recipe);
            CHECK(logits_of(out / "whole") == logits_of(out / "split"));
            CHECK_FALSE(fs::exists(out / "split" / "model.safetensors"));
            CHECK_FALSE(fs::exists(out / "whole" / "model.safetensors.index.json"));
            const auto index = nlohmann::json::parse(read(out / "split" / "model.safetensors.index.json"));
            std::size_t total = 0;
            std::size_t tensors = 0;
            for (std::size_t i = 0; i < count; ++i) {
                const st::file shard(out / "split" / shard_name(i, count));
                CHECK(shard.metadata() == st::string_map{{"format", "pt"}});
                for (const auto& name : shard.tensors()) {
                    CHECK(index.at("weight_map").at(name) == shard_name(i, count));
                    total += shard.at(name).bytes.size();
                    ++tensors;
                }
            }
            CHECK(index.at("metadata") == nlohmann::json{{"total_size", total}});
            CHECK(index.at("weight_map").size() == tensors);
            // What is no linear layer of a block is in the file it was in, byte for byte.
            const llm::checkpoint before(parts.path()), after(out / "split");
            for (const auto& name : before.tensors()) {
                if (name.find("_proj") != std::string::npos) continue;
                CHECK(bytes_of(before.at(name)) == bytes_of(after.at(name)));
                CHECK(before.path_of(name).filename() == after.path_of(name).filename());
            }
        }
    }
}

TEST_CASE("weights that are there already don't shadow those that are written", "[llm][checkpoint]") {
    const small_model whole, parts;
    llm_test::split(parts.path(), 2);
    const llm_test::scratch out;
    compress_to(whole.path(), out / "model", "svd");
    const auto save_over = [&](const small_model& from) {
        llm::save_model(llm::model(from.path()), out / "model", {{"method", "none"}}, true);
        CHECK(logits_of(out / "model") == logits_of(from.path()));
    };
    save_over(parts);
    CHECK_FALSE(fs::exists(out / "model" / "model.safetensors"));
    save_over(whole);
    CHECK_FALSE(fs::exists(out / "model" / "model.safetensors.index.json"));
}

TEST_CASE("model.safetensors is read where there is an index beside it", "[llm][checkpoint]") {
    const small_model parts, whole;
    llm_test::split(parts.path(), 2);
    fs::copy_file(whole.path() / "model.safetensors", parts.path() / "model.safetensors");
    llm_test::write(parts.path() / "model.safetensors.index.json", "not read");
    CHECK_FALSE(llm::checkpoint(parts.path()).has_index());
    CHECK(logits_of(parts.path()) == logits_of(whole.path()));
}

TEST_CASE("an index that is wrong is an error that names it", "[llm][checkpoint]") {
    using edit = std::function<void(nlohmann::json&)>;
    const std::vector<std::pair<edit, std::string>> cases{
        {[](auto& index) { index = nlohmann::json::array(); }, "not a JSON object"},
        {[](auto& index) { index.erase("weight_map"); }, "weight_map"},
        {[](auto& index) { index["weight_map"] = nlohmann::json::object(); }, "weight_map"},
        {[](auto& index) { index["weight_map"] = 3; }, "weight_map"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = 3; }, "'model.norm.weight' is in 3"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = "../model.safetensors"; },
         "want the name of a file in this folder"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = "/etc/passwd"; }, "want the name"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = ".."; }, "want the name"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = ""; }, "want the name"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = "another.safetensors"; },
         "another.safetensors: cannot be read"},
        {[](auto& index) { index["weight_map"]["model.norm.weight"] = "config.json"; }, "config.json"},
        {[](auto& index) {
             auto& place = index["weight_map"]["model.norm.weight"];
             place = place == shard_name(0, 2) ? shard_name(1, 2) : shard_name(0, 2);
         },
         "has no tensor 'model.norm.weight' in model-0000"},
        {[](auto& index) { index["weight_map"].erase("model.norm.weight"); },
         "has no tensor 'model.norm.weight'"},
        {[](auto& index) { index["weight_map"]["one.more"] = shard_name(0, 2); },
         "tensors are said to be in"},
    };
    for (const auto& [change, expected] : cases) {
        const small_model parts;
        llm_test::split(parts.path(), 2);
        const auto path = parts.path() / "model.safetensors.index.json";
        auto index = nlohmann::json::parse(read(path));
        change(index);
        llm_test::write(path, index.dump());
        const auto message = error_of([&] { const llm::model m(parts.path()); });
        CAPTURE(message, expected);
        CHECK(message.find(expected) != std::string::npos);
        CHECK(message.find(parts.path().string()) != std::string::npos);
    }
    const small_model parts;
    llm_test::split(parts.path(), 2);
    const auto path = parts.path() / "model.safetensors.index.json";
    llm_test::write(path, "{\"weight_map\": {");
    CHECK(error_of([&] { const llm::model m(parts.path()); }).find("index.json: not JSON") !=
          std::string::npos);
    fs::remove(path);
    CHECK(error_of([&] { const llm::model m(parts.path()); }).find("model.safetensors") != std::string::npos);
}

TEST_CASE("numbers of one type become those of another", "[llm][checkpoint]") {
    for (const auto from : {st::dtype::F32, st::dtype::F16, st::dtype::BF16})
        for (const auto to : {st::dtype::F32, st::dtype::F16, st::dtype::BF16}) {
            llm_test::random_model source;
            source.dtype = from;
            const small_model dense(source);
            const llm_test::scratch out;
            CAPTURE(name_of(from), name_of(to));
            compress_to(dense.path(), out / "typed", "nsvd-1+pivoted", to);
            const st::file before(dense.path() / "model.safetensors"), after(out / "typed/model.safetensors");
            for (const auto& name : after.tensors()) {
                const bool mask = name.ends_with(".pivots");
                CHECK(after.at(name).dtype == (mask ? st::dtype::U8 : to));
                if (!before.contains(name)) continue;
                CHECK(after.at(name).shape == before.at(name).shape);
                const auto expected = st::from_matrix(name, to, st::to_matrix<float>(before.at(name)));
                CHECK(bytes_of(after.at(name)) ==
                      std::vector<std::byte>(expected.bytes.begin(), expected.bytes.end()));
            }
            const auto config = nlohmann::json::parse(read(out / "typed/config.json"));
            CHECK(config.at("torch_dtype") == (to == st::dtype::F32   ? "float32"
                                               : to == st::dtype::F16 ? "float16"
                                                                      : "bfloat16"));
            CHECK(logits_of(out / "typed").allFinite());
        }
    // 70000 is beyond F16.
    const small_model dense;
    llm::model m(dense.path());
    m.layer(0) = llm::linear(Eigen::MatrixXf(Eigen::MatrixXf::Constant(16, 16, 70000.0F)));
    m.store_as(st::dtype::F16);
    CHECK_THROWS_AS(llm::rounded(m.layer(0), st::dtype::F16, "a"), nsvd::error);
}

TEST_CASE("a layer that stays in the file is found not finite when it is used", "[llm][checkpoint]") {
    const small_model dense;
    const auto path = dense.path() / "model.safetensors";
    const std::string name = "model.layers.1.mlp.up_proj.weight";
    {
        const st::file file(path);
        std::vector<st::tensor> tensors;
        for (const auto& tensor : file.tensors()) {
            const auto& view = file.at(tensor);
            auto w = st::to_matrix<float>(view);
            if (tensor == name) w(1, 2) = NAN;
            tensors.push_back(st::from_matrix(tensor, view.dtype, w));
            tensors.back().shape = view.shape;
        }
        st::write(path, tensors);
    }
    const auto expected = path.string() + ": tensor '" + name + "': has NaN or infinite values";
    CHECK(error_of([&] { (void)llm::model(dense.path()); }) == expected);
    const llm::model m(dense.path(), llm::residence::in_file);
    CHECK(error_of([&] { (void)m.forward(std::vector<llm::token>{1, 2, 3}); }) == expected);
    CHECK(error_of([&] { (void)m.layer(12).product(); }) == expected);
}
