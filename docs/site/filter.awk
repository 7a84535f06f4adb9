# Doxygen's INPUT_FILTER: awk -f filter.awk FILE. Markdown is written for readers of the repository and headers for
# compilers; here both get the few words that Doxygen wants in addition.
#
# Markdown: a page is called after its file and a section after its title, as links between pages say it:
#   [text](mathematics.md#storage) is [text](@ref mathematics-storage), [text](../examples/image.cpp) its example page.
# An at sign in a text is one, and no command. Headers: the inline namespace goes, and the specialisations in std.

function base(path) {
    sub(/.*\//, "", path)
    sub(/\.md$/, "", path)
    return path
}

function slug(title) {
    title = tolower(title)
    gsub(/[^a-z0-9 _-]/, "", title)
    gsub(/ /, "-", title)
    return title
}

function target(link,    parts) {
    if (link ~ /^#/) return "@ref " page "-" substr(link, 2)
    if (link ~ /^[a-z]+:/) return link
    if (link ~ /^(\.\.\/)?examples\/.*\.(cpp|py)$/) return "@ref " base(link)
    if (link ~ /\.md$/) return "@ref " base(link)
    if (link ~ /\.md#/) {
        split(link, parts, "#")
        return "@ref " base(parts[1]) "-" parts[2]
    }
    return link
}

# Bars in the code of a table's cell: GitHub has them as \|, Doxygen takes the backslash for code, but not in <code>.
function bars(text,    done, code) {
    done = ""
    while (match(text, /`[^`]*`/)) {
        code = substr(text, RSTART + 1, RLENGTH - 2)
        done = done substr(text, 1, RSTART - 1)
        if (index(code, "\\|")) {
            gsub(/</, "\\&lt;", code)
            done = done "<code>" code "</code>"
        } else {
            done = done "`" code "`"
        }
        text = substr(text, RSTART + RLENGTH)
    }
    return done text
}

function links(text,    done, found) {
    done = ""
    while (match(text, /\]\([^) ]+\)/)) {
        found = substr(text, RSTART + 2, RLENGTH - 3)
        done = done substr(text, 1, RSTART - 1) "](" target(found) ")"
        text = substr(text, RSTART + RLENGTH)
    }
    return done text
}

BEGIN {
    markdown = ARGV[1] ~ /\.md$/
    page = base(ARGV[1])
}

!markdown {
    # What a header begins with is about the file.
    if (FNR == 1) sub(/^\/\/ SPDX.*/, "/// \\file")
    sub(/^namespace nsvd::inline NSVD_ABI/, "namespace nsvd")
    gsub(/xt::get_rank<T>::value/, "rank_of_xt")
    if (/^namespace /) outside = 0
    print outside ? "" : $0
    if (/^}  \/\/ namespace nsvd::inline NSVD_ABI/) outside = 1
    next
}

/^ *```/ {
    fenced = !fenced
    print
    next
}

fenced {
    print
    next
}

# Without code in titles, of which Doxygen shows the tags.
/^# / && !titled {
    titled = 1
    gsub(/`/, "")
    print links($0) " {#" page "}"
    next
}

/^##+ / {
    title = $0
    sub(/^#+ /, "", title)
    gsub(/`/, "")
    print $0 " {#" page "-" slug(title) "}"
    next
}

# Doxygen makes objects of SVG files, which do not scale.
/^!\[[^]]*\]\(images\/[^)]*\)$/ {
    split($0, parts, /[][()]+/)
    print "\\htmlonly<div class=\"image\"><img src=\"" substr(parts[3], 8) "\" alt=\"" parts[2] "\"/><div class=\"caption\">" parts[2] "</div></div>\\endhtmlonly"
    next
}

/^\|/ { $0 = bars($0) }

# Commands are written with a backslash: an at sign is one.
!/`/ { gsub(/@/, "\\\\&") }

{ print links($0) }
