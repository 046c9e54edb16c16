//! The doors of the fuzz targets (fuzz/) with mutations of the golden files, on any compiler: half a second each, or as many
//! seconds as TELLTALE_FUZZ_S says. The seed is printed; TELLTALE_FUZZ_SEED runs one again.

use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use telltale::random::Random;

/// Bytes of one input at most.
const MOST: usize = 8_192;

/// What parsers of numbers, lines and frames tend to trip over.
const TELLING: [&[u8]; 28] = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"NaN",
    b"-inf",
    b"1e999",
    b"-1e-999",
    b"-0",
    b"9.91E37",
    b"18446744073709551615",
    b"9223372036854775808",
    b"4294967296",
    b"0.1",
    b"#9999999999",
    b"#0",
    b"#800000004",
    b"$",
    b"*",
    b",,",
    b"\"",
    b"[[",
    b"{",
    b"null",
    b"\x01\x03\xff",
    b"\x01\x83\x02\xc0\xf1",
];

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(16) + 1;
        let end = (at + length).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => drop(bytes.splice(at..at, TELLING[random.below(TELLING.len())].iter().copied())),
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                let part = other[from..(from + 4 * length).min(other.len())].to_vec();
                bytes.splice(at..end, part);
            }
            _ if random.below(8) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes.truncate(MOST);
    bytes
}

/// Values in place of others, members under other names, items twice or not at all.
fn mutate_json(random: &mut Random, value: &mut Value, parts: &[Value]) {
    let here = random.below(6) == 0;
    match value {
        Value::Object(members) if !members.is_empty() && !here => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = &names[random.below(names.len())];
            match random.below(8) {
                0 => drop(members.remove(name)),
                1 => {
                    let moved = members.remove(name).unwrap_or_default();
                    members.insert(names[random.below(names.len())].clone(), moved);
                }
                _ => mutate_json(random, &mut members[name.as_str()], parts),
            }
        }
        Value::Array(items) if !items.is_empty() && !here => {
            let at = random.below(items.len());
            match random.below(8) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[at].clone()),
                _ => mutate_json(random, &mut items[at], parts),
            }
        }
        other => *other = parts[random.below(parts.len())].clone(),
    }
}

/// Everything within, to be put elsewhere.
fn parts(value: &Value, all: &mut Vec<Value>) {
    all.push(value.clone());
    match value {
        Value::Object(members) => members.values().for_each(|v| parts(v, all)),
        Value::Array(items) => items.iter().for_each(|v| parts(v, all)),
        _ => {}
    }
}

fn golden(folder: &str, ends: &[&str]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| ends.iter().any(|end| path.to_string_lossy().ends_with(end)));
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Lines that begin with `mark`, without it, as the bytes they stand for.
fn answers(files: &[Vec<u8>], mark: &str, bytes: fn(&str) -> Vec<u8>) -> Vec<u8> {
    let texts = files.iter().map(|file| String::from_utf8_lossy(file).into_owned());
    texts
        .flat_map(|text| {
            text.lines().filter_map(|l| l.strip_prefix(mark)).flat_map(bytes).collect::<Vec<_>>()
        })
        .collect()
}

/// Windows of all of it too: a mutation near the end is reached only from a beginning near it.
fn pieces(all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let windows: Vec<_> =
        all.iter().flat_map(|bytes| bytes.chunks(256).step_by(3).map(<[u8]>::to_vec)).collect();
    [all.into_iter().map(|mut b| (b.truncate(MOST), b).1).collect(), windows].concat()
}

fn run(name: &str, door: fn(&[u8]), mut next: impl FnMut(&mut Random) -> Vec<u8>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = number("TELLTALE_FUZZ_S").map_or(Duration::from_millis(500), Duration::from_secs);
    let since = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("TELLTALE_FUZZ_SEED").unwrap_or_else(|| since().as_nanos() as u64);
    println!("{name}: TELLTALE_FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let (began, mut inputs, mut slowest) = (Instant::now(), 0u64, Duration::ZERO);
    while began.elapsed() < time {
        let input = next(&mut random);
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| door(&input))).is_err() {
            panic!("{name}, seed {seed}, input {inputs}: {}", input.escape_ascii());
        }
        let took = begun.elapsed();
        // Of a debug build on a busy machine; more is a loop.
        assert!(took < Duration::from_secs(20), "{name}, seed {seed}: {took:?} for {}", input.escape_ascii());
        slowest = slowest.max(took);
        inputs += 1;
    }
    println!("{name}: {inputs} inputs in {:?}, the slowest took {slowest:?}", began.elapsed());
    assert!(inputs > 0);
}

/// Mutations of `corpus` after every first byte, which chooses how a door reads.
fn bytes(name: &str, door: fn(&[u8]), corpus: Vec<Vec<u8>>, first: bool) {
    let corpus = pieces(corpus);
    run(name, door, |random| {
        let mut input = mutate(random, &corpus);
        if first {
            input.insert(0, random.next() as u8);
        }
        input
    });
}

fn unescaped(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
}

fn hexadecimal(text: &str) -> Vec<u8> {
    text.split_whitespace().filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

#[test]
fn lines() {
    bytes("line", telltale::sources::serial::fuzz::line, golden("golden/serial", &[".in"]), true);
}

#[test]
fn sentences() {
    bytes("nmea", telltale::sources::serial::fuzz::nmea, golden("golden/nmea", &[".nmea"]), true);
}

#[test]
fn answers_of_instruments() {
    let files = golden("golden/scpi", &[".session"]);
    bytes("scpi", telltale::sources::serial::fuzz::scpi, vec![answers(&files, "< ", unescaped)], false);
}

#[test]
fn frames() {
    let files = golden("golden/modbus", &[".log"]);
    bytes("modbus", telltale::sources::serial::fuzz::modbus, vec![answers(&files, "< ", hexadecimal)], false);
}

#[test]
fn messages_of_feeds() {
    bytes(
        "message",
        telltale::sources::streams::fuzz::message,
        golden("fixtures", &["trades.ndjson"]),
        false,
    );
}

#[test]
fn descriptions_of_scans() {
    let texts = golden("golden/plans", &[".json"]);
    let all: Vec<Value> = texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect();
    assert!(all.len() > 10);
    let mut pool: Vec<Value> = [
        "null",
        "true",
        "-1",
        "0",
        "1e300",
        "-0.0",
        "1e-300",
        "9007199254740993",
        "\"\"",
        "\"a.b\"",
        "[]",
        "{}",
        "\"endless\"",
    ]
    .iter()
    .map(|text| serde_json::from_str(text).unwrap())
    .collect();
    all.iter().for_each(|value| parts(value, &mut pool));
    run("plan", telltale::runner::plan::fuzz::plan, |random| {
        if random.below(10) == 0 {
            return mutate(random, &texts);
        }
        let mut value = all[random.below(all.len())].clone();
        for _ in 0..=random.below(6) {
            mutate_json(random, &mut value, &pool);
        }
        serde_json::to_vec(&value).unwrap()
    });
}
