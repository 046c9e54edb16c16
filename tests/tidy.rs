//! The rules of the source tree that a compiler does not hold: where imports may point, who names which crate, how files
//! open, what the page may not do, which licences come in. Reads files only; needs no network.

use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Licences that may come in, as SPDX names. An expression passes when one of its alternatives is all of these.
const LICENCES: &[&str] =
    &["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Unicode-3.0", "Zlib"];

/// Crates that one module alone names; the rest of the program sees that module's own types.
const KEPT_BEHIND: &[(&str, &str)] = &[
    ("rppal", "src/sources/hardware"),
    ("serialport", "src/sources/hardware"),
    ("redb", "src/store"),
    ("tiny_http", "src/http"),
];

/// Folders that are made, fetched or vendored.
const NOT_OURS: &[&str] =
    &[".git", "target", "node_modules", "vendor", "cache", "telltale-data", "__pycache__"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Our files below `folder` with one of these extensions (all with none given), as paths from the root, sorted.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                if !NOT_OURS.contains(&name.as_str()) && !name.starts_with("target-") {
                    walk(&entry.path(), found);
                }
            } else {
                found.push(entry.path().strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let wanted = |p: &PathBuf| {
        extensions.is_empty() || p.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
    };
    found.retain(wanted);
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The program's own code in a source file: without comments and tests, at its end or in a file of their own.
fn code(path: &Path) -> String {
    if path.ends_with("tests.rs") || path.iter().any(|part| part == "tests") {
        return String::new();
    }
    let text = read(path);
    let tests = Regex::new(r"(?m)^#\[cfg\(test\)\]\n(pub\(\w+\) )?mod tests \{").unwrap();
    let text = tests.find(&text).map_or(&*text, |tests| &text[..tests.start()]);
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Fails with all of `faults`, if there are any.
fn none(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Who may import whom, read from the table in the documentation of `src/lib.rs`, which is the rule.
fn layers() -> BTreeMap<String, BTreeSet<String>> {
    let text = read(Path::new("src/lib.rs"));
    let table =
        text.split("```text\n").nth(1).expect("the table in src/lib.rs").split("//! ```").next().unwrap();
    let names = |list: &str| -> BTreeSet<String> {
        let list = Regex::new(r"\([^)]*\)").unwrap().replace_all(list, "").into_owned();
        list.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect()
    };
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.trim_start_matches("//!").trim().split_once(' '))
        .map(|(name, rest)| (name, rest.trim()))
        .collect();
    let (last, open) = rows.last().expect("rows in the table");
    assert_eq!(*last, "base", "the table ends with the modules that are open to all");
    let base = names(open.split_once(':').expect("base lists its modules after a colon").1);
    let mut layers = BTreeMap::new();
    for (i, (name, rest)) in rows[..rows.len() - 1].iter().enumerate() {
        let below = match rest.rsplit_once("->") {
            Some((_, list)) => names(list),
            // No list: all that stands below it.
            None if i < 2 => rows[i + 1..].iter().map(|(name, _)| name.to_string()).collect(),
            None => BTreeSet::new(),
        };
        let below = below.into_iter().chain(base.iter().cloned()).chain([name.to_string()]);
        layers.insert(name.to_string(), below.collect());
    }
    for name in &base {
        layers.insert(name.clone(), base.clone());
    }
    layers
}

/// The top-level modules that a piece of code names: `crate::a::b` and `use crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for hit in Regex::new(r"\bcrate::([a-z_]+)").unwrap().captures_iter(code) {
        found.insert(hit[1].to_string());
    }
    for hit in Regex::new(r"(?s)\bcrate::\{(.*?)\};").unwrap().captures_iter(code) {
        let (mut depth, mut name) = (0, String::new());
        for c in hit[1].chars().chain([',']) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let first = name.split([':', ' ']).find(|part| !part.is_empty()).unwrap_or("");
                    if !first.is_empty() {
                        found.insert(first.to_string());
                    }
                    name.clear();
                }
                c if depth == 0 && !c.is_whitespace() => name.push(c),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let found = imports("use crate::{http, limits, push::{Push, Request}};\nlet x = crate::bus::Bus::new();");
    assert_eq!(found, ["bus", "http", "limits", "push"].map(String::from).into());
}

#[test]
fn imports_point_down() {
    let layers = layers();
    let mut faults = Vec::new();
    for path in files("src", &["rs"]) {
        let mut parts = path.strip_prefix("src").unwrap().components();
        let top = parts.next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string();
        if top == "lib" || top == "main" {
            continue;
        }
        let Some(allowed) = layers.get(&top) else {
            faults.push(format!("{}: {top} is not in the table of src/lib.rs", path.display()));
            continue;
        };
        for name in imports(&code(&path)) {
            if !allowed.contains(&name) {
                faults.push(format!("{}: {top} may not import {name}", path.display()));
            }
        }
    }
    none("imports point down the table in src/lib.rs", faults);
}

#[test]
fn one_module_names_each_kept_crate() {
    let mut faults = Vec::new();
    for (name, home) in KEPT_BEHIND {
        let named = Regex::new(&format!(r"\b{name}::|\buse {name}\b")).unwrap();
        let (inside, outside): (Vec<_>, Vec<_>) = files("src", &["rs"])
            .into_iter()
            .filter(|path| named.is_match(&code(path)))
            .partition(|path| path.starts_with(home));
        if inside.is_empty() {
            faults.push(format!("{home} does not name {name}: has it moved?"));
        }
        faults.extend(
            outside.iter().map(|path| format!("{} names {name}, which only {home} may", path.display())),
        );
    }
    none("one module names each of these crates", faults);
}

#[test]
fn threads_start_in_one_place() {
    let started = Regex::new(r"\bthread::(spawn|scope|Builder)\b").unwrap();
    let faults = files("src", &["rs"])
        .into_iter()
        .filter(|path| path != Path::new("src/threads.rs") && started.is_match(&code(path)))
        .map(|path| path.display().to_string())
        .collect();
    none("threads start through src/threads.rs, with a name and an owner", faults);
}

#[test]
fn every_file_opens_with_what_it_is() {
    let rust = ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, &["rs"]));
    let faults = rust
        .chain(files("", &["rs"]).into_iter().filter(|path| path.components().count() == 1))
        .filter(|path| !read(path).lines().next().is_some_and(|line| line.starts_with("//! ")))
        .map(|path| path.display().to_string())
        .collect();
    none("a source file opens with a line of prose (//!)", faults);
}

#[test]
fn every_limit_says_why() {
    let text = read(Path::new("src/limits.rs"));
    let lines: Vec<&str> = text.lines().collect();
    let limits: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].starts_with("pub const ")).collect();
    assert!(limits.len() > 20, "src/limits.rs holds the limits");
    let faults = limits
        .iter()
        .filter(|i| !lines[**i - 1].starts_with("/// "))
        .map(|i| format!("{}: {}", i + 1, lines[*i]))
        .collect();
    none("every limit has a comment: what it bounds and what happens there", faults);
}

#[test]
fn the_page_is_safe_and_works_without_the_internet() {
    let markup =
        Regex::new(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|unsafeHTML|eval\()").unwrap();
    // Names of formats, never fetched.
    let remote = Regex::new(r#"(https?:|["'(])//[a-z0-9-]+(\.[a-z0-9-]+)+"#).unwrap();
    let mut faults = Vec::new();
    for path in files("www", &["html", "js", "css", "svg", "webmanifest", "json"]) {
        for (number, line) in read(&path).lines().enumerate() {
            let line = line.replace("http://www.w3.org/", "");
            if markup.is_match(&line) {
                faults.push(format!("{}:{}: makes markup out of text", path.display(), number + 1));
            }
            if remote.is_match(&line) {
                faults.push(format!("{}:{}: names a remote host", path.display(), number + 1));
            }
        }
    }
    none("the page sets text, not markup, and asks no other host", faults);
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:\s]+)(#[^)]*)?\)").unwrap();
    let mut faults = Vec::new();
    for path in files("", &["md"]) {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        for hit in link.captures_iter(&read(&path)) {
            if !folder.join(&hit[1]).exists() {
                faults.push(format!("{}: {}", path.display(), &hit[1]));
            }
        }
    }
    none("relative links point to files", faults);
}

#[test]
fn nothing_is_of_one_machine() {
    let place = Regex::new(r#"(^|[\s"'`(=:])/(root|work|Users|home/[a-z]+)/"#).unwrap();
    let mut faults = Vec::new();
    for path in
        files("", &["rs", "md", "toml", "js", "mjs", "py", "sh", "yml", "json", "html", "css", "service"])
    {
        let text = read(&path);
        if path != Path::new("tests/tidy.rs") && place.is_match(&text) {
            faults.push(format!("{}: a path of somebody's machine", path.display()));
        }
        if text.chars().any(|c| ('\u{1f300}'..='\u{1faff}').contains(&c)) {
            faults.push(format!("{}: a picture among the letters", path.display()));
        }
    }
    none("files make sense on every machine", faults);
}

#[test]
fn scripts_can_be_run_and_are_strict() {
    use std::os::unix::fs::PermissionsExt;
    let mut faults = Vec::new();
    for path in files("", &[]) {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        let Some(first) =
            text.lines().next().filter(|line| line.starts_with("#!") && !line.starts_with("#!["))
        else {
            continue;
        };
        let executable = root().join(&path).metadata().unwrap().permissions().mode() & 0o100 != 0;
        if !executable {
            faults.push(format!("{}: is not executable", path.display()));
        }
        if first.contains("bash") && !Regex::new(r"(?m)^set -e?uo pipefail$").unwrap().is_match(&text) {
            faults.push(format!("{}: lacks `set -euo pipefail`", path.display()));
        }
    }
    none("scripts are executable and strict", faults);
}

#[test]
fn the_changelog_knows_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let text = read(Path::new("CHANGELOG.md"));
    assert!(
        text.contains("## [Unreleased]") || text.contains(&format!("## [{version}]")),
        "{version} is not in it"
    );
}

/// Whether an SPDX expression can be met with [`LICENCES`]: alternatives by OR (or the old slash), each a sum by AND.
fn acceptable(expression: &str) -> bool {
    let known = |name: &str| LICENCES.contains(&name.trim());
    let all = |part: &str| part.split(" AND ").all(|name| name.split(" OR ").any(known));
    let plain = expression.replace('/', " OR ");
    match plain.split_once(") AND ") {
        // (A OR B) AND C
        Some((first, rest)) => acceptable(first.trim_start_matches('(')) && acceptable(rest),
        None => plain.trim_matches(['(', ')']).split(" OR ").any(all),
    }
}

#[test]
fn licences_are_judged_by_their_alternatives() {
    for fine in ["MIT", "MIT/Apache-2.0", "Apache-2.0 OR BSL-1.0", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(acceptable(fine), "{fine}");
    }
    for not in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-2.0", "MPL-2.0", ""] {
        assert!(!acceptable(not), "{not}");
    }
}

#[test]
fn licences_are_on_the_list() {
    let host = Command::new("rustc").arg("-vV").output().expect("rustc");
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // All that is built here is here already; other platforms' crates may not be.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "cargo metadata names {} packages", packages.len());
    let faults = packages
        .iter()
        .map(|p| (p["name"].as_str().unwrap(), p["license"].as_str().unwrap_or("")))
        // MPL-2.0 binds the changed files of the crate itself, not what links it; it is used unchanged.
        .filter(|(name, licence)| !(acceptable(licence) || *name == "serialport" && *licence == "MPL-2.0"))
        .map(|(name, licence)| format!("{name}: `{licence}`"))
        .collect();
    none("dependencies come under a licence on the list", faults);
}
