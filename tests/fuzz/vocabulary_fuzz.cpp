// SPDX-License-Identifier: MIT
// Any bytes are a vocabulary.json, whose ids decode to the text they encode, or an nsvd::error.
#include "memory_file.hpp"
#include "vocabulary.hpp"

#include <nsvd/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const fuzz::memory_file source(bytes, size);
    try {
        const llm::vocabulary v(source.path());
        constexpr std::string_view text = "a b, ab \xc3\xa9\xff";
        if (v.decode(v.encode(text)) != text) std::abort();
    } catch (const nsvd::error&) {
    }
    return 0;
}
