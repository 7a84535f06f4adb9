// SPDX-License-Identifier: MIT
/// Checks that misuse throws `nsvd::error` with a message that names what was wrong.
#pragma once

#include "catch.hpp"

#include <nsvd/error.hpp>

#include <initializer_list>
#include <string>
#include <string_view>

namespace support {

/// `call` must throw `nsvd::error`, in one line that contains all of `words`.
template <class Call>
void expect_error(Call&& call, std::initializer_list<std::string_view> words, int line = __builtin_LINE()) {
    std::string message;
    bool thrown = false;
    try {
        call();
    } catch (const nsvd::error& e) {
        thrown = true;
        message = e.what();
    }
    INFO("called at line " << line << ", message: " << message);
    CHECK(thrown);
    CHECK(message.find('\n') == std::string::npos);
    for (const std::string_view word : words) {
        CAPTURE(word);
        CHECK(message.find(word) != std::string::npos);
    }
}

}  // namespace support
