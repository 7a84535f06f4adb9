// SPDX-License-Identifier: MIT
// What interrupted runs leave, and who may go on with it.
#include "journal.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;
using llm::journal;
using llm_test::error_of;

namespace {

const json job{{"method", "svd"}, {"seed", 1}, {"model", {{{"file", "a"}, {"bytes", 3}}}}};

}  // namespace

TEST_CASE("a journal goes on with what the same job has left", "[llm][journal]") {
    const llm_test::scratch out;
    const auto folder = fs::weakly_canonical(out / "x.partial");
    CHECK_FALSE(journal().keeps());
    CHECK_FALSE(journal().has("a"));
    journal().keep("a", job);  // nowhere
    {
        const journal first(out / "x", job, false);
        CHECK(first.folder() == folder);
        CHECK_FALSE(first.find("a"));
        first.keep("a", {{"value", 0.1}});
        llm_test::write(first.path("b.json.17-0.partial"), "half");
        llm_test::write(first.path("text-00001.stream.new"), "half");
        CHECK(error_of([&] { const journal second(out / "x", job, false); }) ==
              folder.string() +
                  ": another process is at work in this folder: wait for it, or give another --output");
    }
    {
        // A slash at the end names the same folder, as do links.
        journal second(out / "x/", job, false);
        CHECK(second.folder() == folder);
        CHECK(second.find("a")->at("value") == 0.1);
        CHECK_FALSE(second.has("b.json.17-0.partial"));
        CHECK_FALSE(second.has("text-00001.stream.new"));
        second.finish();
        CHECK_FALSE(second.keeps());
    }
    CHECK_FALSE(fs::exists(folder));
}

TEST_CASE("a journal that has nothing worth keeping goes away", "[llm][journal]") {
    const llm_test::scratch out;
    { const journal first(out / "x", job, false); }
    CHECK_FALSE(fs::exists(out / "x.partial"));
}

TEST_CASE("another job is told what it differs in, unless it starts over", "[llm][journal]") {
    const llm_test::scratch out;
    {
        const journal first(out / "x", job, false);
        first.keep("a", json::object());
    }
    const auto refused = [&](const char* pointer, const json& value) {
        auto other = job;
        other[json::json_pointer(pointer)] = value;
        return error_of([&] { const journal second(out / "x", other, false); });
    };
    CHECK(refused("/seed", 2)
              .find("x.partial: left by another run (its seed is 1, here 2): finish that one "
                    "with its own command, or start over with --restart") != std::string::npos);
    CHECK(refused("/model/0/bytes", 4).find("(its model/0/bytes is 3, here 4)") != std::string::npos);
    CHECK(refused("/dtype", "f16").find("(its dtype is not given, here \"f16\")") != std::string::npos);
    auto fewer = job;
    fewer.erase("seed");
    CHECK(error_of([&] {
              const journal second(out / "x", fewer, false);
          }).find("(its seed is 1, here not given)") != std::string::npos);
    CHECK(journal(out / "x", job, false).has("a"));  // nothing was lost
    const journal over(out / "x", fewer, true);
    CHECK_FALSE(over.has("a"));
}

TEST_CASE("text on its way alone does not stand in the way of another job", "[llm][journal]") {
    const llm_test::scratch out;
    llm_test::write((fs::create_directory(out / "x.partial"), out / "x.partial" / "text-00001.stream"), "…");
    llm_test::write(out / "x.partial" / "job.json", "{\"another\": 1}");
    const journal first(out / "x", job, false);
    CHECK_FALSE(first.has("text-00001.stream"));
}

TEST_CASE("a journal whose removal was cut short is of no use, and in no one's way", "[llm][journal]") {
    for (const auto& next : {job, json{{"other", 1}}}) {
        const llm_test::scratch out;
        {
            const journal first(out / "x", job, false);
            first.keep("a", json::object());
            first.keep("job.json", {{"finished", job}});
        }
        {
            const journal second(out / "x", next, false);
            CHECK_FALSE(second.has("a"));
        }
        CHECK_FALSE(fs::exists(out / "x.partial"));
    }
}

TEST_CASE("names that are no UTF-8 do not keep a job from going on", "[llm][journal]") {
    const llm_test::scratch out;
    const json odd{{"file", "caf\xe9"}};
    {
        const journal first(out / "x", odd, false);
        first.keep("a", odd);
    }
    CHECK(journal(out / "x", odd, false).has("a"));
}
