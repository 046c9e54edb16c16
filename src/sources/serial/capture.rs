//! Captures: what went over a port, in a file that people can read and `replay` can play.
//!
//! ```text
//! # telltale capture 1 2026-01-07T15:30:00.000Z meter /dev/ttyUSB0 9600 8N1
//! 0 ! open
//! 1201 < {"t":21.5}\r\n
//! 1260 > *IDN?\n
//! ```
//! A record is a line: milliseconds since the heading, `<` received, `>` sent or `!` a remark, then the bytes. A
//! backslash is `\\`, control characters are `\n`, `\r`, `\t` or `\xNN`, and so is every byte that is not UTF-8; all else
//! stands for itself. A later heading (the daemon was started again) begins its time anew.
//!
//! **Promises.** Any bytes can be written and are read back the same. A cut, by power or by a full disk, costs at most the
//! last second and the record that is cut: a last line without an end is not read, and is removed before more is
//! added. **Bounds.** The file and the one before it (`.old`) have a limit together; a record has one too.

use crate::clock::Wall;
use crate::config::{Capture, Parity, SerialPort};
use crate::limits;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a file begins that is a capture.
pub const HEADING: &str = "# telltale capture 1";
/// What is written is handed to the system this often.
const FLUSH: Duration = Duration::from_secs(1);

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the device.
    In,
    /// To the device.
    Out,
    /// Not over the port: what happened to it.
    Remark,
}

/// What went over a port in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Since the heading; whole milliseconds.
    pub at: Duration,
    /// Which way.
    pub way: Way,
    /// What.
    pub bytes: Vec<u8>,
}

/// Bytes as text: UTF-8 as it is, but for control characters, the backslash and what is not UTF-8.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    let hex = |out: &mut String, byte: u8| {
        let _ = write!(out, "\\x{byte:02x}");
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => {
                    c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| hex(&mut out, byte));
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| hex(&mut out, *byte));
    }
    out
}

/// The bytes that [`escape`] was given; none when the text is not of its making.
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next()? {
            b'\\' => b'\\',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [*rest.next()?, *rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

impl Record {
    /// Its line, with its end.
    fn to_line(&self) -> String {
        let way = match self.way {
            Way::In => '<',
            Way::Out => '>',
            Way::Remark => '!',
        };
        format!("{} {way} {}\n", self.at.as_millis(), escape(&self.bytes))
    }

    /// What a line without its end says.
    fn from_line(line: &[u8]) -> Option<Record> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let at = std::str::from_utf8(parts.next()?).ok()?.parse().ok().map(Duration::from_millis)?;
        let way = match parts.next()? {
            b"<" => Way::In,
            b">" => Way::Out,
            b"!" => Way::Remark,
            _ => return None,
        };
        Some(Record { at, way, bytes: unescape(parts.next()?)? })
    }
}

/// Reads the records of a capture one by one. Time goes on over a later heading.
pub struct Records<R> {
    from: R,
    /// When the present heading was, since the first.
    base: Duration,
    last: Duration,
    /// Lines that are no record.
    pub skipped: u64,
}

impl<R: BufRead> Records<R> {
    /// Reads from the beginning of a capture.
    pub fn new(from: R) -> Self {
        Records { from, base: Duration::ZERO, last: Duration::ZERO, skipped: 0 }
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.starts_with(HEADING.as_bytes()) {
                self.base = self.last;
                continue;
            }
            match Record::from_line(&line) {
                Some(mut record) => {
                    record.at = self.base.saturating_add(record.at);
                    self.last = self.last.max(record.at);
                    return Ok(Some(record));
                }
                None if line.is_empty() || line.starts_with(b"#") => {}
                None => self.skipped += 1,
            }
        }
    }

    /// The next whole line that is not too long, without its end.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            let most = limits::CAPTURE_RECORD as u64;
            (&mut self.from).take(most).read_until(b'\n', &mut line)?;
            if line.pop_if(|last| *last == b'\n').is_some() {
                return Ok(Some(line));
            }
            // Cut off, or too long: either way not a record.
            if line.len() < limits::CAPTURE_RECORD {
                return Ok(None);
            }
            self.skipped += 1;
            self.from.skip_until(b'\n')?;
        }
    }
}

/// Writes what goes over a port to its capture file.
pub struct Tape {
    file: PathBuf,
    /// Past this size the file becomes the old one.
    half: u64,
    heading: String,
    out: BufWriter<File>,
    size: u64,
    begun: Duration,
    flushed: Duration,
}

impl Tape {
    /// Opens the capture of a port, after what is in it already.
    ///
    /// # Errors
    /// One sentence when the file can't be written.
    pub fn open(capture: &Capture, port: &SerialPort, now: Duration) -> io::Result<Tape> {
        let parity = match port.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        let heading = format!(
            "{} {} {} {}{parity}{}",
            port.id,
            escape(port.device.to_string().as_bytes()),
            port.baud,
            port.data_bits,
            port.stop_bits
        );
        let (out, size) = append(&capture.file)?;
        let half = capture.limit / 2;
        let mut tape =
            Tape { file: capture.file.clone(), half, heading, out, size, begun: now, flushed: now };
        tape.begin(now)?;
        Ok(tape)
    }

    /// Writes one record; `bytes` that are too many become several.
    ///
    /// # Errors
    /// When the file can't be written any more.
    pub fn write(&mut self, way: Way, bytes: &[u8], now: Duration) -> io::Result<()> {
        if self.size >= self.half {
            self.out.flush()?;
            std::fs::rename(&self.file, old(&self.file))?;
            (self.out, self.size) = append(&self.file)?;
            self.begin(now)?;
        }
        // An escaped byte takes four.
        for bytes in bytes.chunks(limits::CAPTURE_RECORD / 8) {
            let at = now.saturating_sub(self.begun);
            self.put(&Record { at, way, bytes: bytes.to_vec() }.to_line())?;
        }
        self.flush(now)
    }

    /// Hands over what is written, about once a second.
    ///
    /// # Errors
    /// When the file can't be written any more.
    pub fn flush(&mut self, now: Duration) -> io::Result<()> {
        if now.saturating_sub(self.flushed) >= FLUSH {
            self.flushed = now;
            self.out.flush()?;
        }
        Ok(())
    }

    fn begin(&mut self, now: Duration) -> io::Result<()> {
        self.begun = now;
        self.put(&format!("{HEADING} {} {}\n", Wall::now().rfc3339(), self.heading))?;
        self.out.flush()
    }

    fn put(&mut self, line: &str) -> io::Result<()> {
        self.size += line.len() as u64;
        self.out.write_all(line.as_bytes())
    }
}

fn old(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".old");
    name.into()
}

/// Opens a file to add to, without a last line that was cut; gives its size.
fn append(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let open = || -> io::Result<(BufWriter<File>, u64)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let from = size.saturating_sub(limits::CAPTURE_RECORD as u64);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&mut file).take(limits::CAPTURE_RECORD as u64).read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
        let size = if whole == 0 && from > 0 { size } else { from + whole };
        file.set_len(size)?;
        file.seek(SeekFrom::Start(size))?;
        Ok((BufWriter::new(file), size))
    };
    open().map_err(|e| io::Error::new(e.kind(), format!("failed to open `{}`: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Device, LineConfig, LineFormat, ProtocolConfig, Sink};
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn port() -> SerialPort {
        let line = ProtocolConfig::Line(LineConfig::of(LineFormat::Json));
        SerialPort::of("m", Device::Path("/dev/x".into()), line, Sink::Stream("m".into()))
    }

    fn all(bytes: &[u8]) -> (Vec<Record>, u64) {
        let mut records = Records::new(bytes);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push(record);
        }
        (found, records.skipped)
    }

    #[test]
    fn text_stays_readable() {
        assert_eq!(escape("21.5 °C\r\n".as_bytes()), "21.5 °C\\r\\n");
        assert_eq!(escape(b"\\\0\x7f\xff\xb0"), "\\\\\\x00\\x7f\\xff\\xb0");
        for bad in [&b"\\"[..], b"\\q", b"\\x1", b"\\xgg"] {
            assert_eq!(unescape(bad), None);
        }
    }

    #[test]
    fn a_file_is_added_to_and_a_cut_costs_one_record() {
        let dir = tempfile::tempdir().unwrap();
        let capture = Capture { file: dir.path().join("c"), limit: 1 << 20 };
        let mut tape = Tape::open(&capture, &port(), 5 * MS).unwrap();
        tape.write(Way::In, b"one\n", 105 * MS).unwrap();
        tape.write(Way::Out, b"two", 205 * MS).unwrap();
        drop(tape);
        let whole = std::fs::read(&capture.file).unwrap();
        assert!(whole.starts_with(HEADING.as_bytes()), "{}", String::from_utf8_lossy(&whole));
        assert!(String::from_utf8_lossy(&whole).contains("m /dev/x 9600 8N1\n100 < one\\n\n200 > two\n"));
        std::fs::write(&capture.file, &whole[..whole.len() - 2]).unwrap();
        let mut tape = Tape::open(&capture, &port(), Duration::ZERO).unwrap();
        tape.write(Way::Remark, b"open", 7 * MS).unwrap();
        drop(tape);
        let (records, skipped) = all(&std::fs::read(&capture.file).unwrap());
        let expected = [
            Record { at: 100 * MS, way: Way::In, bytes: b"one\n".to_vec() },
            Record { at: 107 * MS, way: Way::Remark, bytes: b"open".to_vec() },
        ];
        assert_eq!((records, skipped), (expected.to_vec(), 0));
    }

    #[test]
    fn the_file_and_the_one_before_stay_within_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let capture = Capture { file: dir.path().join("c"), limit: 8_000 };
        let mut tape = Tape::open(&capture, &port(), Duration::ZERO).unwrap();
        for n in 0..1_000u64 {
            tape.write(Way::In, format!("line {n}\n").as_bytes(), MS * n as u32).unwrap();
            let size = |path: &Path| path.metadata().map_or(0, |m| m.len());
            assert!(size(&capture.file) + size(&old(&capture.file)) <= 8_000 + 2 * 64);
        }
        drop(tape);
        let (last, _) = all(&std::fs::read(&capture.file).unwrap());
        assert_eq!(last.last().unwrap().bytes, b"line 999\n");
        assert!(old(&capture.file).exists());
    }

    #[test]
    fn what_is_no_record_is_skipped() {
        let long = "9".repeat(limits::CAPTURE_RECORD * 3);
        let text = format!("{HEADING}\n1 < a\nnonsense\n2 ? b\n3 < \\q\n4 < {long}\n# note\n\n5 < b\n6 < c");
        let (records, skipped) = all(text.as_bytes());
        let bytes: Vec<_> = records.iter().map(|r| r.bytes.as_slice()).collect();
        assert_eq!((bytes, skipped), (vec![&b"a"[..], b"b"], 4));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200), ms in 0u64..10_000_000) {
            let record = Record { at: Duration::from_millis(ms), way: Way::In, bytes };
            let line = record.to_line();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(Record::from_line(line.trim_end_matches('\n').as_bytes()), Some(record));
        }

        /// Any file is read to its end, in bounded memory and without a panic.
        #[test]
        fn any_file_is_survived(bytes in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b' '), Just(b'<'), Just(b'\\'), Just(b'7'), any::<u8>()], 0..400)) {
            let (records, _) = all(&bytes);
            prop_assert!(records.len() <= bytes.len() / 4);
        }
    }
}
