// SPDX-License-Identifier: MIT
// Any bytes are token ids below the size of the vocabulary, in each of the kinds of file, or an nsvd::error;
// and windows of them.
#include "memory_folder.hpp"
#include "token_ids.hpp"
#include "tokens.hpp"

#include <nsvd/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const fuzz::memory_folder folder;
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    constexpr std::size_t vocabulary = 300;
    for (const char* name : {"ids.u16", "ids.u32", "ids.safetensors", "ids.txt"})
        try {
            const auto ids = llm::read_token_ids(folder.write(name, text), vocabulary);
            if (!ids) continue;
            if (std::any_of(ids->begin(), ids->end(), [](llm::token id) { return id >= vocabulary; }))
                std::abort();
            const auto windows = llm::windows(*ids, 1 + size % 7, name);
            if (windows.size() != ids->size() / (1 + size % 7)) std::abort();
            const auto drawn = llm::draw_windows(windows.size(), 3, size);
            if (!std::is_sorted(drawn.begin(), drawn.end()) ||
                (!drawn.empty() && drawn.back() >= windows.size()))
                std::abort();
        } catch (const nsvd::error&) {
        }
    return 0;
}
