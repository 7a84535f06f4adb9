// SPDX-License-Identifier: MIT
// The program itself, run on a small model and its texts.
#pragma once

#include "llm_support.hpp"
#include "naive_llama.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/wait.h>

namespace llm_test {

struct outcome {
    int code;
    std::string out, err;
};

/// A small model and texts, and a way to run the program on them.
class workplace {
public:
    workplace() {
        std::filesystem::create_directory(folder_ / "model");
        random_model m;
        m.vocab = 256;
        m.write_to(folder_ / "model");
        std::string text;
        for (const auto id : m.tokens(1000))
            text += static_cast<char>(id);
        write(folder_ / "text.txt", text);
        std::string wide;
        for (const char c : text)
            wide += std::string{c, '\0'};
        write(folder_ / "text.u16", wide);
        std::string wider;
        for (const char c : text)
            wider += std::string{c, '\0', '\0', '\0'};
        write(folder_ / "text.u32", wider);
        write(folder_ / "odd.u16", "abc");
        write(folder_ / "big.u32", std::string(400, '\x01'));
        write(folder_ / "short.txt", "short");
    }

    /// What the shell does first, `ulimit` for example, may be put in front.
    [[nodiscard]] outcome run(const std::string& arguments, const std::string& before = "") const {
        const auto file = [&](const char* name) { return "'" + (folder_ / name).string() + "'"; };
        const auto command = "cd '" + folder_.path().string() + "' && " + before + " '" NSVD_LLM_BINARY "' " +
                             arguments + " >" + file("stdout.txt") + " 2>" + file("stderr.txt") +
                             " </dev/null";
        const int status = std::system(command.c_str());
        return {WEXITSTATUS(status), read(folder_ / "stdout.txt"), read(folder_ / "stderr.txt")};
    }
    [[nodiscard]] nlohmann::json json(const std::string& name) const {
        return nlohmann::json::parse(read(folder_ / name));
    }
    [[nodiscard]] bool exists(const std::string& name) const {
        return std::filesystem::exists(folder_ / name);
    }

    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }

private:
    scratch folder_;
};

/// A model that takes some tenths of a second to compress.
struct large_workplace : workplace {
    large_workplace() {
        random_model m;
        m.hidden = 48;
        m.inter = 80;
        m.head_dim = 12;
        m.blocks = 3;
        m.vocab = 256;
        std::filesystem::create_directory(*this / "large");
        m.write_to(*this / "large");
    }
};

}  // namespace llm_test
