// SPDX-License-Identifier: MIT
// Any bytes are a config.json, whose rotary frequencies are finite, or an nsvd::error.
#include "config.hpp"
#include "memory_file.hpp"

#include <nsvd/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const fuzz::memory_file source(bytes, size);
    try {
        const auto c = llm::read_config(source.path());
        if (c.attention_window.size() != c.blocks || c.heads == 0 || c.key_value_heads == 0) std::abort();
        // Sizes are bounded by the weights, which are not here.
        if (c.rotary && c.head_dim <= 256 &&
            !c.rotary->frequencies(static_cast<Eigen::Index>(c.head_dim), 4096).allFinite())
            std::abort();
    } catch (const nsvd::error&) {
    }
    return 0;
}
