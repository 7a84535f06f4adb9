// SPDX-License-Identifier: MIT
/// What the weights of a model take in memory, where they are in single precision.
#pragma once

#include "model.hpp"

#include <cstdint>

namespace llm {

/// Bytes of all linear layers, routers, the embeddings and the head.
[[nodiscard]] std::int64_t weight_bytes(const model& m);

/// Those of them that have to be read for one more token: the linear layers and the head; of experts, as many
/// as a token passes, those of average size.
[[nodiscard]] std::int64_t weight_bytes_per_token(const model& m);

}  // namespace llm
