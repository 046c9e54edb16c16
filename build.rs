//! Puts the page into the binary: every file under www/, plain and compressed, with its type and a tag of its content.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let root =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is"))
            .join("www");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where to write"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=www");
    let mut files = Vec::new();
    walk(&root, &mut files);
    // By their text, as they are looked up, not by component as paths compare.
    let mut files: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|file| (file.strip_prefix(&root).expect("found below it").to_string_lossy().into_owned(), file))
        .collect();
    files.sort();
    let mut table = String::from("pub(super) static FILES: &[File] = &[\n");
    for (number, (name, file)) in files.iter().enumerate() {
        println!("cargo:rerun-if-changed={}", file.display());
        let content =
            std::fs::read(file).unwrap_or_else(|e| panic!("failed to read `{}`: {e}", file.display()));
        let tag = Sha256::digest(&content).iter().take(12).fold(String::new(), |mut text, b| {
            let _ = write!(text, "{b:02x}");
            text
        });
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let packed =
            encoder.write_all(&content).and_then(|()| encoder.finish()).expect("memory takes everything");
        // What hardly shrinks (images, fonts) is kept once.
        let packed = if packed.len() * 10 < content.len() * 9 {
            let to = out.join(format!("{number}.gz"));
            std::fs::write(&to, packed).unwrap_or_else(|e| panic!("failed to write `{}`: {e}", to.display()));
            format!("Some(include_bytes!({:?}))", to.display().to_string())
        } else {
            "None".to_string()
        };
        let _ = writeln!(
            table,
            "    File {{ path: {name:?}, tag: {tag:?}, plain: include_bytes!({:?}), packed: {packed} }},",
            file.display().to_string()
        );
    }
    table.push_str("];\n");
    std::fs::write(out.join("files.rs"), table).expect("cargo's folder can be written");
}

/// Every file below a folder; hidden ones are left out, a folder that is not there is empty.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // www/vendor.mjs fetches the vendored files; it is a tool, not a part of the page.
        if entry.file_name().to_string_lossy().starts_with('.')
            || path.extension().is_some_and(|e| e == "mjs")
        {
            continue;
        }
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}
