//! The page: files built into the binary, or read from `--www` while it is being worked on.
//!
//! Compressed where the client takes gzip, tagged by content, in ranges where asked. From a folder nothing is served
//! that is not a plain file below it after every link has been followed.

use super::head::Head;
use super::problem::{Problem, problem, shown};
use super::range::{Span, span};
use super::reply::Reply;
use super::routes::etag_matches;
use super::server::Shared;
use crate::limits;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::path::Path;

/// One file of the page.
pub(super) struct File {
    path: &'static str,
    tag: &'static str,
    plain: &'static [u8],
    packed: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A file as it is about to be sent.
struct Found {
    content: Cow<'static, [u8]>,
    packed: Option<&'static [u8]>,
    tag: String,
    content_type: &'static str,
    cache: &'static str,
}

/// Answers a GET of anything that is not a route.
pub(super) fn serve(shared: &Shared, head: &Head) -> Result<Reply, Problem> {
    let mut path = head.path.join("/");
    if path.is_empty() || path.ends_with('/') {
        path.push_str("index.html");
    }
    let found = match &shared.parts.config.www {
        Some(folder) => from_folder(folder, &path),
        None => built_in(&path),
    };
    let Some(found) = found else {
        return Err(problem(
            404,
            "unknown_path",
            "Not found",
            format!("there is no file {}", shown(&head.path_text())),
        ));
    };
    Ok(reply(head, found))
}

fn built_in(path: &str) -> Option<Found> {
    let at = FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    let file = &FILES[at];
    Some(Found {
        content: file.plain.into(),
        packed: file.packed,
        tag: file.tag.into(),
        content_type: type_of(path),
        cache: cache_of(path),
    })
}

fn from_folder(folder: &Path, path: &str) -> Option<Found> {
    if path.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return None;
    }
    let root = folder.canonicalize().ok()?;
    let file = root.join(path).canonicalize().ok()?;
    let data = std::fs::metadata(&file).ok()?;
    if !file.starts_with(&root) || !data.is_file() || data.len() > limits::FILE_BYTES {
        return None;
    }
    let content = std::fs::read(&file).ok()?;
    let tag = crate::keys::hex(&Sha256::digest(&content)[..12]);
    Some(Found { content: content.into(), packed: None, tag, content_type: type_of(path), cache: "no-cache" })
}

/// Files under vendor/ are pinned by version and never change under their name.
fn cache_of(path: &str) -> &'static str {
    if path.starts_with("vendor/") { "public, max-age=31536000, immutable" } else { "no-cache" }
}

pub(super) fn type_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "m4a" => "audio/mp4",
        "webm" => "audio/webm",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn reply(head: &Head, found: Found) -> Reply {
    let range = head
        .header("range")
        .filter(|_| head.header("if-range").is_none_or(|tag| tag.trim() == format!("\"{}\"", found.tag)));
    let gzip = found
        .packed
        .filter(|_| range.is_none() && takes_gzip(head.header("accept-encoding").unwrap_or_default()));
    let etag = if gzip.is_some() { format!("\"{}-gz\"", found.tag) } else { format!("\"{}\"", found.tag) };
    let dress = |reply: Reply| {
        reply
            .header("ETag", etag.clone())
            .header("Cache-Control", found.cache)
            .header("Vary", "Accept-Encoding")
            .header("Accept-Ranges", "bytes")
    };
    let length = found.content.len();
    if head.header("if-none-match").is_some_and(|known| etag_matches(known, &etag)) {
        return dress(Reply::empty(304, gzip.map_or(length, <[u8]>::len)));
    }
    if let Some(packed) = gzip {
        return dress(Reply::of_static(200, found.content_type, packed).header("Content-Encoding", "gzip"));
    }
    match range.map_or(Span::Whole, |range| span(range, length as u64)) {
        Span::Whole => dress(match found.content {
            Cow::Borrowed(bytes) => Reply::of_static(200, found.content_type, bytes),
            Cow::Owned(bytes) => Reply::new(200, found.content_type, bytes),
        }),
        Span::Part(from, to) => dress(
            Reply::new(206, found.content_type, found.content[from as usize..=to as usize].to_vec())
                .header("Content-Range", format!("bytes {from}-{to}/{length}")),
        ),
        Span::None => dress(
            Reply::from(problem(
                416,
                "range",
                "Range not satisfiable",
                format!("the file has {length} bytes; the range lies outside"),
            ))
            .header("Content-Range", format!("bytes */{length}")),
        ),
    }
}

fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_only_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let www = dir.path().join("www");
        std::fs::create_dir_all(www.join("js")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(www.join(".hidden"), "h").unwrap();
        std::fs::write(www.join("js/app.js"), "1").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), www.join("out.txt")).unwrap();
        std::os::unix::fs::symlink(www.join("js/app.js"), www.join("in.js")).unwrap();
        assert_eq!(from_folder(&www, "js/app.js").unwrap().content_type, "text/javascript; charset=utf-8");
        assert!(from_folder(&www, "in.js").is_some());
        for path in [
            "out.txt",
            "../secret",
            ".hidden",
            "js",
            "js//app.js",
            "nothing",
            "/etc/passwd",
            "js/../js/app.js",
        ] {
            assert!(from_folder(&www, path).is_none(), "{path}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        assert!(takes_gzip("deflate, gzip;q=0.5, br"));
        assert!(!takes_gzip("deflate") && !takes_gzip("gzip;q=0") && !takes_gzip(""));
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(FILES.windows(2).all(|pair| pair[0].path < pair[1].path));
    }
}
