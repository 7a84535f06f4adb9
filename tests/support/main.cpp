// SPDX-License-Identifier: MIT
// Catch2 v3 brings a main of its own (Catch2::Catch2WithMain); v2 makes one here.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
