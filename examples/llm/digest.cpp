// SPDX-License-Identifier: MIT
#include "digest.hpp"

#include <nsvd/ext/checksum.hpp>

namespace llm {

std::string digest_of(const nlohmann::ordered_json& job) {
    nsvd::checksum sum;
    sum.add(nlohmann::json(job).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return sum.text();
}

}  // namespace llm
