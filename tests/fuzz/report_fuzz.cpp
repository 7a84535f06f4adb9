// SPDX-License-Identifier: MIT
// Any bytes are a report of `compress`, of which there is a page, a comparison, or the entries of a journal;
// or they are refused with std::invalid_argument, which nsvd::error is.
#include "compression_report.hpp"
#include "files.hpp"
#include "journal.hpp"
#include "layer_result.hpp"
#include "memory_folder.hpp"
#include "report.hpp"

#include <nsvd/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string_view>

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

// Of numbers: figures that are not finite are null, and times and errors may be any.
template <class Read>
void comes_back(const nlohmann::ordered_json& json, const Read& read) {
    const auto once = to_json(read(json));
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    require(to_json(read(once)).dump(-1, ' ', false, replace) == once.dump(-1, ' ', false, replace));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const fuzz::memory_folder folder;
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    try {
        const auto json = llm::read_json(folder.write("report.json", text));
        try {
            require(!llm::compression_page(json).empty());
            require(!llm::printed(llm::read_compression_report(json)).empty());
        } catch (const std::invalid_argument&) {
        }
        try {
            comes_back(json, [](const auto& from) { return llm::from_json(from); });
            require(!llm::html_report(llm::from_json(json)).empty());
        } catch (const std::invalid_argument&) {
        }
        try {
            comes_back(json, [](const auto& from) { return llm::read_layer_result(llm::json_reader(from)); });
        } catch (const nsvd::error&) {
        }
    } catch (const nsvd::error&) {
    }
    // What a run that was stopped has left is gone on with, discarded, or another's.
    const auto left = folder.path() / "model.partial";
    std::filesystem::create_directory(left);
    folder.write("model.partial/job.json", text);
    folder.write("model.partial/layer.json", text);
    try {
        const llm::journal kept(folder.path() / "model", {{"seed", 1}}, false);
        static_cast<void>(kept.find("layer.json"));
    } catch (const nsvd::error&) {
    }
    std::filesystem::remove_all(left);
    return 0;
}
