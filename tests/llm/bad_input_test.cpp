// SPDX-License-Identifier: MIT
// Damaged models, texts and places to write to, one at a time: each an error of one line that names the file,
// and nothing that was there is changed.
#include "support/catch.hpp"
#include "support/sanitizers.hpp"
#include "workplace.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using llm_test::outcome;
using llm_test::workplace;
using nlohmann::json;

namespace {

const std::string evaluate = "evaluate --model model --text text.txt --context 20";
const std::string compare =
    "compare --model model --calibration text.txt --context 20 --windows 4 --text a=text.txt --compression "
    "0.2 "
    "--methods svd";
const std::string compress =
    "compress --model model --calibration text.txt --context 20 --windows 4 --compression 0.2 --method svd "
    "--output ";

/// Every file below a folder with its bytes, folders with none; but not the program's own out and err.
std::map<std::string, std::string> contents(const workplace& w) {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(w / "."))
        all[entry.path().string()] = entry.is_regular_file() ? llm_test::read(entry) : "";
    all.erase((w / "." / "stdout.txt").string());
    all.erase((w / "." / "stderr.txt").string());
    return all;
}

/// One line on standard error that has all of `expected`, nothing on standard output, exit code 1.
void check_error(const outcome& result, const std::vector<std::string>& expected) {
    CAPTURE(result.err);
    CHECK(result.code == 1);
    CHECK(result.out.empty());
    CHECK(result.err.starts_with("nsvd-llm: "));
    CHECK(result.err.find('\n') == result.err.size() - 1);
    CHECK(result.err.size() < 1000);
    for (const auto& part : expected)
        CHECK(result.err.find(part) != std::string::npos);
}

/// Fails like that, and leaves every file as it was.
void check_refused(const workplace& w, const std::string& arguments, const std::vector<std::string>& expected,
                   const std::string& before = "") {
    CAPTURE(arguments);
    const auto were = contents(w);
    check_error(w.run(arguments, before), expected);
    CHECK(contents(w) == were);
}

/// The model of a workplace, whose files can be damaged and made good again.
class breakable {
public:
    explicit breakable(const workplace& w)
        : weights_(llm_test::read(w / "model/model.safetensors")),
          config_(json::parse(llm_test::read(w / "model/config.json"))),
          place_(w) {}

    /// The weights are these bytes instead.
    void check_weights(const std::string& bytes, const std::string& expected) const {
        const auto path = place_ / "model/model.safetensors";
        llm_test::write(path, bytes);
        for (const auto& arguments : {evaluate, compare, compress + "new"})
            check_refused(place_, arguments, {"model/model.safetensors: ", expected});
        llm_test::write(path, weights_);
    }

    /// The header is changed, the data stay as they are.
    void check_header(const std::function<void(json&)>& change, const std::string& expected) const {
        auto header = json::parse(weights_.substr(8, header_size()));
        change(header);
        check_weights(with_header(header.dump()), expected);
    }

    void check_config(const std::string& bytes, const std::string& expected) const {
        const auto path = place_ / "model/config.json";
        llm_test::write(path, bytes);
        for (const auto& arguments : {evaluate, compress + "new"})
            check_refused(place_, arguments, {"model/config.json: ", expected});
        llm_test::write(path, config_.dump());
    }

    [[nodiscard]] const std::string& weights() const { return weights_; }
    [[nodiscard]] const json& config() const { return config_; }
    [[nodiscard]] std::size_t header_size() const {
        std::uint64_t size = 0;
        std::memcpy(&size, weights_.data(), sizeof size);
        return static_cast<std::size_t>(size);
    }
    [[nodiscard]] std::string with_length(std::uint64_t length) const {
        std::array<char, 8> bytes{};
        std::memcpy(bytes.data(), &length, sizeof length);
        return std::string(bytes.data(), bytes.size()) + weights_.substr(8);
    }
    [[nodiscard]] std::string with_header(const std::string& header) const {
        const auto lengths = with_length(header.size());
        return lengths.substr(0, 8) + header + weights_.substr(8 + header_size());
    }

private:
    std::string weights_;
    json config_;
    const workplace& place_;
};

const std::string up = "model.layers.1.mlp.up_proj.weight";

}  // namespace

TEST_CASE("bad input: weights that are no safetensors file", "[llm][bad-input]") {
    const workplace w;
    const breakable model(w);
    const auto& whole = model.weights();
    model.check_weights("", "empty file");
    model.check_weights("1234567", "7 bytes only");
    for (const std::size_t size : {std::size_t{8}, std::size_t{100}, 8 + model.header_size() - 1})
        model.check_weights(whole.substr(0, size), "truncated");
    for (const std::size_t size : {8 + model.header_size(), whole.size() / 2, whole.size() - 1})
        model.check_weights(whole.substr(0, size), "outside of");
    model.check_weights(whole + "x", "bytes after the last tensor");
    model.check_weights(model.with_length(whole.size() - 7), "truncated");
    for (const std::uint64_t length : {std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()})
        model.check_weights(model.with_length(length), "header of " + std::to_string(length) + " bytes");
    model.check_weights(model.with_length(model.header_size() - 20), "not JSON");
    model.check_weights(model.with_header("not JSON"), "not JSON");
    model.check_weights(model.with_header("[1]"), "not a JSON object");
    model.check_weights(
        model.with_header(R"({"a":)" + std::string(200000, '[') + std::string(200000, ']') + "}"), "levels");
    model.check_weights("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n",
                        "no safetensors file");

    fs::remove(w / "model/model.safetensors");
    check_refused(w, evaluate, {"model/model.safetensors: ", "No such file"});
    fs::create_directory(w / "model/model.safetensors");
    check_refused(w, evaluate, {"model/model.safetensors: not a regular file"});
}

TEST_CASE("bad input: headers that lie", "[llm][bad-input]") {
    const workplace w;
    const breakable model(w);
    const std::uint64_t huge = std::uint64_t{1} << 62;
    using change = std::function<void(json&)>;
    const auto shape = [](const json& value) -> change { return [=](json& h) { h[up]["shape"] = value; }; };
    const auto offset = [](int which, int by) -> change {
        return [=](json& h) {
            auto& value = h[up]["data_offsets"][static_cast<std::size_t>(which)];
            value = value.get<std::int64_t>() + by;
        };
    };
    const std::string name = "tensor '" + up + "'";
    for (const auto& [damage, expected] : std::vector<std::pair<change, std::string>>{
             {offset(0, -4), name},
             {offset(0, 4), name},
             {offset(1, 4), name},
             {[](json& h) { h["copy"] = h[up]; }, "overlaps"},
             {[](json& h) { h.erase(up); }, "preceded by bytes that belong to no tensor"},
             {[](json& h) { h[up]["dtype"] = "F31"; }, name + ": unknown dtype"},
             {[](json& h) { h[up]["dtype"] = 32; }, name + ": dtype is not a string"},
             {[](json& h) { h[up]["dtype"] = "I32"; }, name + ": dtype I32: want F16, BF16 or F32"},
             {[](json& h) { h[up] = 1; }, name + ": is not an object"},
             {shape({huge, huge, 16}), name + ": shape overflows"},
             {shape({huge, 4}), name + ": shape overflows"},
             {shape({huge * 2, 16}), name},
             {shape({-24, -16}), name + ": shape has a part that is no non-negative integer: -24"},
             {shape({24.5, 16}), name + ": shape has a part that is no non-negative integer: 24.5"},
             {shape({24, "16"}), name},
             {shape(384), name + ": shape is not an array"},
             {shape({16, 24}), name + ": has the shape [16, 24], config.json wants [24, 16]"},
             {shape({384}), name + ": has the shape [384]"},
             {shape({24, 4, 4}), name + ": has the shape [24, 4, 4]"},
             {[](json& h) { h["line\nbreak"] = 1; }, "line break"},
         })
        model.check_header(damage, expected);
}

TEST_CASE("bad input: tensors that are missing, or have no numbers", "[llm][bad-input]") {
    const workplace w;
    const breakable model(w);
    const auto path = w / "model/model.safetensors";
    namespace st = nsvd::safetensors;
    /// The file without one tensor, or with a number in it.
    const auto changed = [&](const std::string& which, const float* number) {
        const st::file file(path);
        std::vector<st::tensor> tensors;
        for (const auto& name : file.tensors()) {
            const auto& source = file.at(name);
            const auto storage =
                std::make_shared<std::vector<std::byte>>(source.bytes.begin(), source.bytes.end());
            if (name == which && !number) continue;
            if (name == which) std::memcpy(storage->data() + 8, number, sizeof *number);
            tensors.push_back({name, source.dtype, source.shape, *storage, storage});
        }
        st::write(w / "changed", tensors, file.metadata());
        const auto bytes = llm_test::read(w / "changed");
        fs::remove(w / "changed");
        return bytes;
    };
    for (const auto* name :
         {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
          "model.layers.0.input_layernorm.weight", "model.layers.1.self_attn.k_proj.weight"})
        model.check_weights(changed(name, nullptr), std::string("tensor '") + name + "': is missing");
    for (const float number :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
        for (const auto& name :
             {up, std::string("model.embed_tokens.weight"), std::string("model.norm.weight")})
            model.check_weights(changed(name, &number), "tensor '" + name + "': has NaN or infinite values");
}

TEST_CASE("bad input: config.json", "[llm][bad-input]") {
    const workplace w;
    const breakable model(w);
    for (const auto* text : {"", "{", "not JSON", "{\"a\":1}}", "\xff\xfe{\"a\":1}", "{\"a\":1e999}"})
        model.check_config(text, "not JSON");
    for (const auto* text : {"[]", "1", "null", "\"text\""})
        model.check_config(text, "not a JSON object");
    model.check_config("{}", "key 'model_type' is missing");
    model.check_config(R"({"a":)" + std::string(200000, '[') + std::string(200000, ']') + "}", "levels");
    // Enough memory for none of the huge ones: the limit is 2 GB.
#if defined(NSVD_TEST_SANITIZED)
    const std::string limit;  // the sanitizer reserves much more
#else
    const std::string limit = "ulimit -v 2000000 &&";
#endif
    for (const auto* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                            "num_key_value_heads", "vocab_size", "max_position_embeddings", "head_dim"}) {
        for (const json& value :
             {json(0), json(-1), json(1.5), json("16"), json(std::uint64_t{1'000'000'000'000}),
              json(std::uint64_t{1'000'000'000'000'000'000}), json(1e18), json::array({1})}) {
            auto config = model.config();
            config[key] = value;
            model.check_config(config.dump(), std::string("key '") + key + "' is " + value.dump());
        }
        // Allowed as a number, but not by the weights or other keys. No model has too many positions.
        if (std::string_view(key) == "max_position_embeddings") continue;
        auto config = model.config();
        config[key] = 1 << 30;
        const auto path = w / "model/config.json";
        llm_test::write(path, config.dump());
        check_refused(w, evaluate, {"model/"}, limit);
        llm_test::write(path, model.config().dump());
    }
    auto config = model.config();
    config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4}, {"attention_factor", 1e308}};
    model.check_config(config.dump(), "key 'rope_scaling.attention_factor' is 1e+308");
    config["rope_scaling"]["attention_factor"] = 1e38;
    llm_test::write(w / "model/config.json", config.dump());
    check_refused(w, evaluate, {"model: its output is not finite"});
    check_refused(w, "generate --model model --prompt abc --tokens 3", {"model: its output is not finite"});
    fs::remove(w / "model/config.json");
    check_refused(w, evaluate, {"model/config.json: cannot be read: No such file"});
    check_refused(w, "evaluate --model text.txt --text text.txt", {"text.txt/config.json: cannot be read"});
}

TEST_CASE("bad input: texts", "[llm][bad-input]") {
    const workplace w;
    for (const auto* name : {"empty.txt", "empty.u16", "empty.u32"})
        llm_test::write(w / name, "");
    llm_test::write(w / "empty.safetensors", "");
    llm_test::write(w / "odd.u32", "abcdef");
    llm_test::write(w / "big.u16", std::string(40, '\1'));
    llm_test::write(w / "bytes.safetensors", "no such file");
    const std::vector<std::pair<std::string, std::string>> cases{
        {"empty.txt", "is empty"},
        {"empty.u16", "is empty"},
        {"empty.u32", "is empty"},
        {"empty.safetensors", "empty file"},
        {"short.txt", "5 tokens are less than one window of 20: give a longer text or a smaller --context"},
        {"odd.u16", "3 bytes are no whole number of 2-byte token ids"},
        {"odd.u32", "6 bytes are no whole number of 4-byte token ids"},
        {"big.u16", "token 0 has the id 257, the model's vocabulary ends at 255"},
        {"big.u32", "token 0 has the id 16843009, the model's vocabulary ends at 255"},
        {"bytes.safetensors", "header of "},
        {"model/model.safetensors", "tensor 'input_ids': is missing"},
        {"missing.txt", "cannot be read: No such file"},
        {"model", "cannot be read: it is a folder"},
        {"text.txt/below", "cannot be read: Not a directory"},
    };
    for (const auto& [name, expected] : cases) {
        check_refused(w, "evaluate --model model --context 20 --text " + name, {name + ": " + expected});
        check_refused(w, compare + " --text b=" + name, {name + ": " + expected});
        check_refused(w,
                      "compress --model model --context 20 --compression 0.2 --method svd --output new "
                      "--calibration " +
                          name,
                      {name + ": " + expected});
    }
    for (const auto* name : {"tokenizer.json", "vocab.json"}) {
        const auto path = llm_test::write(w / "model" / name, "{}");
        check_refused(w, evaluate, {std::string("model/") + name + ": ", "AutoTokenizer"});
        fs::remove(path);
    }
    llm_test::write(w / "model" / "tokenizer.model", "damaged");
    check_refused(w, evaluate, {"model/tokenizer.model: "});
    llm_test::write(w / "model" / "vocabulary.json", "{\"pieces\": 1}");
    check_refused(w, evaluate, {"model/vocabulary.json: key 'pieces'"});
    llm_test::write(w / "model" / "vocabulary.json",
                    "{\"pieces\": [[\"" + std::string(1'000'000, 'a') + "\", 0]]}");
    check_refused(w, evaluate, {"model/vocabulary.json: piece 0 has 1000000 bytes"});
    fs::remove(w / "model" / "vocabulary.json");
    REQUIRE(::mkfifo((w / "model" / "vocabulary.json").c_str(), 0600) == 0);
    check_refused(w, evaluate, {"model/vocabulary.json: not JSON: a pipe"});
    fs::remove(w / "model" / "vocabulary.json");
    llm_test::write(w / "model" / "vocabulary.json", "{\"pieces\": [[\"a\", 0]]}");
    check_refused(w, evaluate, {"model/vocabulary.json: no piece for the byte"});
}

TEST_CASE("bad input: places that cannot be written to", "[llm][bad-input]") {
    const workplace w;
    fs::create_directory(w / "taken");
    llm_test::write(w / "taken/mine.txt", "mine");
    llm_test::write(w / "e.json", "mine");
    check_refused(w, compress + "taken", {"taken: ", "not empty", "--force"});
    check_refused(w, compress + "model", {"model"});
    check_refused(w, compress + "text.txt", {"text.txt: ", "--output"});
    check_refused(w, compress + "text.txt/out", {"text.txt/out"});
    check_refused(w, evaluate + " --json text.txt/e.json",
                  {"text.txt/e.json: cannot be written: Not a directory"});
    check_refused(w, evaluate + " --json nowhere/e.json",
                  {"nowhere/e.json: cannot be written: No such file"});
    check_refused(w, evaluate + " --json model", {"model: not a regular file"});
    check_refused(w, evaluate + " --json /dev/full", {"/dev/full: not a regular file"});
    // A disk with room for the messages, and no more; then for the small files, but not for the weights.
    const auto room = [](int blocks) {
        return "trap '' XFSZ && ulimit -f " + std::to_string(blocks) + " &&";
    };
    check_refused(w, compare + " --json e.json", {"e.json: cannot be written: File too large"}, room(1));
    check_refused(w, compare + " --html e.html", {"e.html: cannot be written: File too large"}, room(1));
    check_refused(w, compress + "new", {"new", "cannot be written"}, room(4));
    check_refused(w, compress + "taken --force", {"taken", "cannot be written"}, room(4));
    // What follows # is where `run` sends standard output.
    check_error(w.run(evaluate + " >/dev/full 2>stderr.txt #"), {"standard output: cannot be written"});
    check_error(w.run(evaluate + " --json - >/dev/full 2>stderr.txt #"),
                {"standard output: cannot be written"});
    CHECK(llm_test::read(w / "e.json") == "mine");

    if (::geteuid() == 0) {
        WARN("read-only folders are not tested: root may write to them");
        return;
    }
    fs::create_directory(w / "locked");
    fs::permissions(w / "locked", fs::perms::owner_read | fs::perms::owner_exec);
    check_refused(w, compress + "locked/new", {"locked/new", "Permission denied"});
    check_refused(w, evaluate + " --json locked/e.json",
                  {"locked/e.json: cannot be written: Permission denied"});
    fs::permissions(w / "locked", fs::perms::owner_all);
}
