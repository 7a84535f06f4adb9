// SPDX-License-Identifier: MIT
/// Defines NSVD_TEST_SANITIZED where a sanitizer has memory of its own: limits of memory say nothing then.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NSVD_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NSVD_TEST_SANITIZED 1
#endif
#endif
