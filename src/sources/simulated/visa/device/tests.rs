//! Tests of simulated devices against what pyvisa-sim itself answered.
use super::super::parse::parse;
use super::*;
use proptest::prelude::*;
use std::path::Path;

/// The transcripts of tests/golden/visa: `# FILE RESOURCE`, then for each message `> ` what is sent and `< ` each line of
/// the answer; a line feed at the end goes without saying. Made by tests/devices/transcribe.py with pyvisa-sim itself.
#[test]
fn it_answers_as_pyvisa_sim_does() {
    let asked = transcripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/visa"));
    assert!(asked > 300, "{asked}");
    // Device files that are not ours stay where they are.
    if let Some(folder) = std::env::var_os("TELLTALE_TEST_VISA") {
        println!("{} messages of {} as well", transcripts(Path::new(&folder)), folder.display());
    }
}

/// Plays the transcripts of a folder; gives how many messages there were.
fn transcripts(folder: &Path) -> usize {
    let mut asked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut device = None;
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(head) = line.strip_prefix("# ") {
                let (file, resource) = head.split_once(' ').unwrap();
                let file = std::fs::read_to_string(folder.join(file)).unwrap();
                device = Some(Device::new(parse(&file, Some(resource)).unwrap()));
                continue;
            }
            let Some(sent) = line.strip_prefix("> ") else { panic!("{}: {line}", path.display()) };
            let device = device.as_mut().unwrap();
            let end = device.definition().query_end.clone();
            let heard = device.hear(&[sent.as_bytes(), &end].concat());
            let mut expected = Vec::new();
            while let Some(answer) = lines.peek().and_then(|line| line.strip_prefix("< ")) {
                expected.extend(answer.as_bytes());
                expected.extend(&device.definition().answer_end);
                lines.next();
            }
            asked += 1;
            assert_eq!(
                String::from_utf8_lossy(&heard),
                String::from_utf8_lossy(&expected),
                "{}: {sent:?}",
                path.display()
            );
        }
    }
    asked
}

fn device() -> Device {
    let text = include_str!("../../../../../tests/golden/visa/supply.yaml");
    Device::new(parse(text, None).unwrap())
}

#[test]
fn messages_come_in_any_pieces() {
    let mut device = device();
    assert!(device.hear(b"VOLT 1.5").is_empty());
    assert!(device.hear(b"0\r").is_empty());
    assert_eq!(
        device.hear(b"\nVOLT?\r\nVOLT?;*IDN?\r\n"),
        b"+1.500000E+00\n+1.500000E+00\ntelltale,golden supply,1,0\n"
    );
    assert_eq!(device.hear(b"\xff\xfe\r\nSYST:ERR?\r\n"), b"-113,\"Undefined header\"\n");
}

#[test]
fn drawn_numbers_are_within_their_limits() {
    let text = "spec: 1.0\nresources: {ASRL1::INSTR: {device: a}}\ndevices: {a: {dialogues: [{q: R?, r: '{RANDOM(-2, 3.5, 4):.2f}'}, \
                {q: B?, r: 'RANDOM(0, 1, 2){:f}'}, {q: M?, r: '{RANDOM(0, 1, 9999):f}'}]}}\n";
    let mut device = Device::new(parse(text, None).unwrap());
    let answer = String::from_utf8(device.hear(b"R?\n")).unwrap();
    let numbers: Vec<f64> = answer.trim().split(", ").map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 4);
    assert!(numbers.iter().all(|n| (-2.0..=3.5).contains(n)), "{answer}");
    assert!(device.hear(b"B?\nM?\n").is_empty(), "pyvisa-sim raises; more than the bound is not drawn");
}

#[test]
fn what_it_keeps_and_says_is_bounded() {
    let mut device = device();
    for _ in 0..3 {
        assert!(device.hear(&[b'x'; 10 * limits::VISA_MESSAGE]).is_empty());
    }
    assert!(device.input.len() < limits::VISA_MESSAGE);
    device.hear(b"\r\n");
    for _ in 0..2 * limits::VISA_ERRORS {
        device.hear(b"NONSENSE\r\n");
    }
    assert_eq!(device.errors, [limits::VISA_ERRORS]);
    let many = "*IDN?;".repeat(2_000) + "\r\n";
    assert!(device.hear(&many.repeat(20).into_bytes()).len() < limits::VISA_ANSWERS + 64);
}

proptest! {
    /// Whatever comes, in whatever pieces, it is heard without harm.
    #[test]
    fn no_bytes_do_harm(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let mut device = device();
        for piece in pieces {
            device.hear(&piece);
        }
    }

    /// The same for what nearly is a command.
    #[test]
    fn no_nearly_right_command_does_harm(lines in proptest::collection::vec("(VOLT|CH[0-9]:CURR|OUTP|MASK)[ ?][-+.0-9eExX]{0,40}", 0..20)) {
        let mut device = device();
        for line in lines {
            device.hear(format!("{line}\r\n").as_bytes());
        }
    }
}
