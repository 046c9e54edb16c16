//! WAV files: what their header says, what the file really holds, and the header it should have.
//!
//! Reads RIFF/WAVE as in "Multimedia Programming Interface and Data Specifications 1.0" (IBM, Microsoft, 1991), the format
//! tags and WAVE_FORMAT_EXTENSIBLE of Microsoft's mmreg.h ("Multiple Channel Audio Data and WAVE Files"), and RF64/BW64 with
//! their `ds64` chunk (EBU Tech 3306, ITU-R BS.2088) for more than 4 GB. A reader of our own, because most of what is met here is
//! no finished file: sizes of 0 or 0xFFFFFFFF while a recorder writes or after it crashed, sizes that are behind, halves of a
//! copy, odd chunks without their padding byte. Any bytes are read without panic, in bounded memory and time.

use crate::limits;
use std::io;

/// What is read at places of its own choosing: a file, or bytes in a test.
pub(super) trait ReadAt {
    /// Reads into all of `into`.
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, at)
    }
}

/// How a sample is written, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Unsigned, 128 is silence.
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
}

impl Coding {
    /// Bytes of one sample.
    pub fn bytes(self) -> usize {
        match self {
            Coding::U8 => 1,
            Coding::I16 => 2,
            Coding::I24 => 3,
            Coding::I32 | Coding::F32 => 4,
            Coding::F64 => 8,
        }
    }
}

/// How the length in the header goes with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// As it should be.
    Right,
    /// 0, the largest number there is, more than there is, or less with samples behind it: the file is being written,
    /// or whoever wrote it did not end well.
    Wrong,
}

/// What a WAV file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wav {
    /// None: a coding that is not read here, such as ADPCM.
    pub coding: Option<Coding>,
    pub channels: u16,
    pub rate: u32,
    /// Bits of a sample that count.
    pub bits: u16,
    /// Bytes of one sample of every channel.
    pub frame: u16,
    /// Bytes of a second.
    byte_rate: u32,
    /// Where the samples begin.
    pub data_at: u64,
    /// Bytes of samples that are there, in whole frames.
    pub data_len: u64,
    pub length: Length,
    /// Where the payload of `ds64` is, in RF64 and BW64.
    ds64_at: Option<u64>,
    /// Where the payload of `fmt ` is, and its length.
    fmt: (u64, u32),
}

impl Wav {
    /// Frames that are there.
    pub fn frames(&self) -> u64 {
        self.data_len / u64::from(self.frame.max(1))
    }

    /// Milliseconds; none where neither the frames nor the bytes of a second say so.
    pub fn duration_ms(&self) -> Option<u64> {
        match self.coding {
            Some(_) => Some(scaled(self.frames(), 1000, u64::from(self.rate))),
            None if self.byte_rate > 0 => Some(scaled(self.data_len, 1000, u64::from(self.byte_rate))),
            None => None,
        }
    }

    /// What to write where, so that the header fits `data_len` bytes of samples that end the file. None: it can't, as it
    /// has only 32 bits for more than 4 GB.
    pub fn patches(&self, data_len: u64) -> Option<Vec<(u64, Vec<u8>)>> {
        let whole = self.data_at + data_len - 8;
        if let Some(at) = self.ds64_at {
            let frames = data_len / u64::from(self.frame.max(1));
            let sizes = [whole, data_len, frames].iter().flat_map(|n| n.to_le_bytes()).collect();
            let none = u32::MAX.to_le_bytes().to_vec();
            return Some(vec![(4, none.clone()), (at, sizes), (self.data_at - 4, none)]);
        }
        let (whole, data) = (u32::try_from(whole).ok()?, u32::try_from(data_len).ok()?);
        Some(vec![(4, whole.to_le_bytes().to_vec()), (self.data_at - 4, data.to_le_bytes().to_vec())])
    }

    /// The header of a new file with `data_len` bytes of samples like those of this one. `fmt` is what [`Self::format`] gave.
    pub fn header(&self, fmt: &[u8], data_len: u64) -> Vec<u8> {
        let padded = fmt.len() + fmt.len() % 2;
        let plain = 12 + 8 + padded as u64 + 8;
        let whole = plain + data_len + data_len % 2 - 8;
        let mut header = Vec::with_capacity(plain as usize + 36);
        let small = u32::try_from(whole).ok().filter(|n| *n < u32::MAX);
        if let Some(whole) = small {
            header.extend(b"RIFF");
            header.extend(whole.to_le_bytes());
            header.extend(b"WAVE");
        } else {
            header.extend(b"RF64\xff\xff\xff\xffWAVEds64");
            header.extend(28_u32.to_le_bytes());
            let frames = data_len / u64::from(self.frame.max(1));
            for n in [whole + 36, data_len, frames] {
                header.extend(n.to_le_bytes());
            }
            header.extend(0_u32.to_le_bytes());
        }
        header.extend(b"fmt ");
        header.extend((fmt.len() as u32).to_le_bytes());
        header.extend(fmt);
        header.resize(header.len() + padded - fmt.len(), 0);
        header.extend(b"data");
        header.extend(small.map_or(u32::MAX, |_| data_len as u32).to_le_bytes());
        header
    }

    /// The payload of the `fmt ` chunk as it is in the file.
    pub fn format(&self, file: &impl ReadAt) -> io::Result<Vec<u8>> {
        let mut fmt = vec![0; (self.fmt.1 as usize).min(FORMAT_BYTES)];
        file.read_exact_at(&mut fmt, self.fmt.0)?;
        Ok(fmt)
    }
}

/// The most that is taken of a `fmt ` chunk; the extensible one has 40.
const FORMAT_BYTES: usize = 1024;

/// `n * times / by` without overflow.
pub(super) fn scaled(n: u64, times: u64, by: u64) -> u64 {
    u64::try_from(u128::from(n) * u128::from(times) / u128::from(by.max(1))).unwrap_or(u64::MAX)
}

/// Reads the header of a file of `len` bytes.
///
/// # Errors
/// One sentence, such as "it does not begin like a WAV file".
pub(super) fn read(file: &impl ReadAt, len: u64) -> Result<Wav, String> {
    let failed = |e: io::Error| format!("failed to read: {e}");
    let mut head = [0; 12];
    if len < 12 {
        return Err("it is too short for a WAV file".into());
    }
    file.read_exact_at(&mut head, 0).map_err(failed)?;
    let big = match &head[..4] {
        b"RIFF" => false,
        b"RF64" | b"BW64" => true,
        _ => return Err("it does not begin like a WAV file".into()),
    };
    if &head[8..] != b"WAVE" {
        return Err("it is a RIFF file, but no WAV".into());
    }
    let (mut at, mut ds64, mut fmt) = (12_u64, None, None);
    for _ in 0..limits::WAV_CHUNKS {
        let mut chunk = [0; 8];
        if at + 8 > len {
            return Err(if fmt.is_some() { "it has no samples" } else { "its header is cut off" }.into());
        }
        file.read_exact_at(&mut chunk, at).map_err(failed)?;
        let size = u32_at(&chunk, 4);
        let payload = at + 8;
        match &chunk[..4] {
            b"ds64" if big && size >= 24 && payload + 24 <= len => {
                let mut sizes = [0; 24];
                file.read_exact_at(&mut sizes, payload).map_err(failed)?;
                ds64 = Some((payload, u64_at(&sizes, 8)));
            }
            b"fmt " if payload + u64::from(size) <= len => {
                let mut bytes = vec![0; (size as usize).min(FORMAT_BYTES)];
                file.read_exact_at(&mut bytes, payload).map_err(failed)?;
                fmt = Some((payload, size, format(&bytes)?));
            }
            b"data" => {
                let (fmt_at, fmt_size, format) = fmt.ok_or("its samples come before their format")?;
                let declared = match (size, ds64) {
                    (u32::MAX, Some((_, size))) => size,
                    (size, _) => u64::from(size),
                };
                let (data_len, length) = measure(file, payload, declared, len, format.frame);
                return Ok(Wav {
                    data_at: payload,
                    data_len,
                    length,
                    ds64_at: ds64.map(|(at, _)| at),
                    fmt: (fmt_at, fmt_size),
                    ..format
                });
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        at = payload + u64::from(size) + u64::from(size % 2);
    }
    Err(format!("it has more than {} chunks before its samples", limits::WAV_CHUNKS))
}

/// Bytes of samples that are there, and whether the header says so.
fn measure(file: &impl ReadAt, at: u64, declared: u64, len: u64, frame: u16) -> (u64, Length) {
    let there = len - at;
    let whole = |n: u64| n - n % u64::from(frame.max(1));
    if declared > there {
        return (whole(there), Length::Wrong);
    }
    let behind = at + declared;
    // Some writers forget the padding byte.
    let ends_well =
        chunks_to_the_end(file, behind + declared % 2, len) || chunks_to_the_end(file, behind, len);
    if ends_well { (whole(declared), Length::Right) } else { (whole(there), Length::Wrong) }
}

/// Whether nothing but chunks stands from `at` to the end: samples do not look like that.
fn chunks_to_the_end(file: &impl ReadAt, mut at: u64, len: u64) -> bool {
    for _ in 0..limits::WAV_CHUNKS {
        if at >= len {
            // One byte over: the padding that is missing at the end.
            return at <= len + 1;
        }
        let mut chunk = [0; 8];
        if at + 8 > len || file.read_exact_at(&mut chunk, at).is_err() {
            return false;
        }
        let size = u64::from(u32_at(&chunk, 4));
        if !chunk[..4].iter().all(|b| (0x20..0x7f).contains(b)) || at + 8 + size > len {
            return false;
        }
        at += 8 + size + size % 2;
    }
    false
}

/// The format from the payload of `fmt `, with nothing said of the samples yet.
fn format(fmt: &[u8]) -> Result<Wav, String> {
    if fmt.len() < 14 {
        return Err("its format is cut off".into());
    }
    let channels = u16_at(fmt, 2);
    let (rate, byte_rate, frame) = (u32_at(fmt, 4), u32_at(fmt, 8), u16_at(fmt, 12));
    let container = if fmt.len() >= 16 { u16_at(fmt, 14) } else { 8 };
    let (mut tag, mut bits) = (u16_at(fmt, 0), container);
    if tag == 0xfffe && fmt.len() >= 40 {
        // The first two bytes of the sub-format's GUID are a format tag.
        tag = u16_at(fmt, 24);
        bits = Some(u16_at(fmt, 18)).filter(|valid| (1..=container).contains(valid)).unwrap_or(container);
    }
    if channels == 0 || rate == 0 {
        return Err(format!("its header says {channels} channels at {rate} Hz"));
    }
    let coding = match (tag, container) {
        (1, 1..=8) => Some(Coding::U8),
        (1, 9..=16) => Some(Coding::I16),
        (1, 17..=24) => Some(Coding::I24),
        (1, 25..=32) => Some(Coding::I32),
        (3, 32) => Some(Coding::F32),
        (3, 64) => Some(Coding::F64),
        _ => None,
    };
    // Of padded frames only those whose samples fill their containers are read.
    let coding = coding.filter(|c| usize::from(frame) == c.bytes() * usize::from(channels));
    let (data_at, data_len, length) = (0, 0, Length::Right);
    Ok(Wav {
        coding,
        channels,
        rate,
        bits,
        frame,
        byte_rate,
        data_at,
        data_len,
        length,
        ds64_at: None,
        fmt: (0, 0),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Bytes of a PCM file, for tests and the bench.
pub(in crate::sources) fn pcm16_header(rate: u32, channels: u16, data_len: u32) -> [u8; 44] {
    let mut header = [0; 44];
    let frame = channels * 2;
    header[..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&data_len.saturating_add(36).to_le_bytes());
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16_u32.to_le_bytes());
    header[20..22].copy_from_slice(&1_u16.to_le_bytes());
    header[22..24].copy_from_slice(&channels.to_le_bytes());
    header[24..28].copy_from_slice(&rate.to_le_bytes());
    header[28..32].copy_from_slice(&(rate * u32::from(frame)).to_le_bytes());
    header[32..34].copy_from_slice(&frame.to_le_bytes());
    header[34..36].copy_from_slice(&16_u16.to_le_bytes());
    header[36..40].copy_from_slice(b"data");
    header[40..].copy_from_slice(&data_len.to_le_bytes());
    header
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    impl ReadAt for Vec<u8> {
        fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let from = self.get(at..).and_then(|b| b.get(..into.len()));
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    fn chunk(id: &[u8; 4], size: u32, payload: &[u8]) -> Vec<u8> {
        [&id[..], &size.to_le_bytes(), payload].concat()
    }

    /// A `fmt ` payload.
    fn fmt(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let frame = channels * bits.div_ceil(8);
        let mut out = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
        out.extend(rate.to_le_bytes());
        out.extend((rate * u32::from(frame)).to_le_bytes());
        out.extend(frame.to_le_bytes());
        out.extend(bits.to_le_bytes());
        out
    }

    fn riff(id: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        [&id[..], &(body.len() as u32 + 4).to_le_bytes(), b"WAVE", &body].concat()
    }

    /// A whole PCM file of `frames`.
    pub fn pcm(channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let fmt = fmt(1, channels, rate, bits);
        riff(b"RIFF", &[chunk(b"fmt ", 16, &fmt), chunk(b"data", data.len() as u32, data)])
    }

    fn of(bytes: Vec<u8>) -> Wav {
        let len = bytes.len() as u64;
        read(&bytes, len).unwrap()
    }

    #[test]
    fn every_coding_is_known() {
        for (tag, bits, coding) in [
            (1, 8, Some(Coding::U8)),
            (1, 16, Some(Coding::I16)),
            (1, 24, Some(Coding::I24)),
            (1, 32, Some(Coding::I32)),
            (3, 32, Some(Coding::F32)),
            (3, 64, Some(Coding::F64)),
            (7, 8, None),
        ] {
            let data = vec![0; usize::from(bits) / 8 * 2 * 100];
            let fmt = fmt(tag, 2, 48_000, bits);
            let wav =
                of(riff(b"RIFF", &[chunk(b"fmt ", 16, &fmt), chunk(b"data", data.len() as u32, &data)]));
            assert_eq!(
                (wav.coding, wav.channels, wav.rate, wav.bits),
                (coding, 2, 48_000, bits),
                "{tag} {bits}"
            );
            assert_eq!((wav.frames(), wav.length, wav.data_at), (100, Length::Right, 44));
            assert_eq!(wav.duration_ms(), Some(2));
        }
    }

    #[test]
    fn the_extensible_format_says_what_it_is_further_behind() {
        let mut long = fmt(0xfffe, 1, 96_000, 32);
        long.extend([22, 0, 24, 0, 4, 0, 0, 0]);
        long.extend([1, 0, 0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113]);
        let wav = of(riff(b"RIFF", &[chunk(b"fmt ", 40, &long), chunk(b"data", 8, &[0; 8])]));
        assert_eq!((wav.coding, wav.bits, wav.frames()), (Some(Coding::I32), 24, 2));
    }

    #[test]
    fn lengths_are_believed_only_when_they_fit_the_file() {
        let data = vec![0x81; 1000];
        let with = |size: u32, behind: &[u8]| {
            let fmt = fmt(1, 1, 8_000, 16);
            let mut bytes = riff(b"RIFF", &[chunk(b"fmt ", 16, &fmt), chunk(b"data", size, &data)]);
            bytes.extend(behind);
            of(bytes)
        };
        let list = chunk(b"LIST", 4, b"INFO");
        for (name, size, behind, expected) in [
            ("finished", 1000, &[][..], (1000, Length::Right)),
            ("a chunk behind", 1000, &list[..], (1000, Length::Right)),
            ("being written", 0, &[], (1000, Length::Wrong)),
            ("to a pipe", u32::MAX, &[], (1000, Length::Wrong)),
            ("arecord without end", 0x7fff_fff0, &[], (1000, Length::Wrong)),
            ("half a copy", 4000, &[], (1000, Length::Wrong)),
            ("the header is behind", 600, &[], (1000, Length::Wrong)),
            ("half a frame behind", 1000, &[7], (1000, Length::Wrong)),
            ("its last padding is missing", 999, &[], (998, Length::Right)),
        ] {
            let wav = with(size, behind);
            assert_eq!((wav.data_len, wav.length), expected, "{name}");
        }
    }

    #[test]
    fn odd_chunks_before_the_samples() {
        let fmt = fmt(1, 1, 8_000, 8);
        let mut odd = chunk(b"bext", 3, b"abc");
        odd.push(0);
        let wav = of(riff(b"RIFF", &[odd, chunk(b"fmt ", 16, &fmt), chunk(b"data", 4, b"abcd")]));
        assert_eq!((wav.data_len, wav.length), (4, Length::Right));
    }

    #[test]
    fn more_than_four_gigabytes() {
        let sizes = [0_u64, 10, 5].iter().flat_map(|n| n.to_le_bytes()).chain([0; 4]).collect::<Vec<_>>();
        let fmt = fmt(1, 1, 8_000, 16);
        let chunks =
            [chunk(b"ds64", 28, &sizes), chunk(b"fmt ", 16, &fmt), chunk(b"data", u32::MAX, &[1; 10])];
        for id in [b"RF64", b"BW64"] {
            let wav = of(riff(id, &chunks));
            assert_eq!((wav.data_len, wav.length), (10, Length::Right));
            let patches = wav.patches(6_000_000_000).unwrap();
            assert_eq!(patches[1].0, 20);
            assert_eq!(patches[1].1[8..16], 6_000_000_000_u64.to_le_bytes());
        }
        let small = of(pcm(1, 8_000, 16, &[0; 10]));
        assert_eq!(small.patches(6_000_000_000), None);
        let header = small.header(&fmt, 6_000_000_000);
        assert_eq!(&header[..4], b"RF64");
        let again = read(&[header, vec![0; 20]].concat(), 100).unwrap();
        assert_eq!((again.length, again.data_len), (Length::Wrong, 20));
    }

    #[test]
    fn patched_headers_are_right() {
        let fmt_bytes = fmt(1, 1, 8_000, 16);
        let mut bytes = riff(b"RIFF", &[chunk(b"fmt ", 16, &fmt_bytes), chunk(b"data", 0, &[5; 100])]);
        let wav = of(bytes.clone());
        assert_eq!(wav.length, Length::Wrong);
        for (at, patch) in wav.patches(wav.data_len).unwrap() {
            bytes[at as usize..at as usize + patch.len()].copy_from_slice(&patch);
        }
        assert_eq!(bytes, pcm(1, 8_000, 16, &[5; 100]));
        assert_eq!(wav.header(&wav.format(&bytes).unwrap(), 100), bytes[..44]);
        assert_eq!(pcm16_header(8_000, 1, 100), bytes[..44]);
    }

    #[test]
    fn what_is_no_wav_is_said_to_be_none() {
        for (bytes, part) in [
            (&b""[..], "short"),
            (b"OggS\0\0\0\0\0\0\0\0\0\0", "begin"),
            (b"RIFF\0\0\0\0AVI LIST", "no WAV"),
            (b"RIFF\0\0\0\0WAVE", "cut off"),
            (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "before"),
        ] {
            let error = read(&bytes.to_vec(), bytes.len() as u64).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0u64..400) {
            let _ = read(&bytes, len);
            let mut wave = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
            wave.extend(&bytes);
            if let Ok(wav) = read(&wave, wave.len() as u64) {
                prop_assert!(wav.data_at + wav.data_len <= wave.len() as u64);
                let _ = (wav.duration_ms(), wav.patches(wav.data_len), wav.format(&wave));
            }
        }

        #[test]
        fn a_file_cut_anywhere_has_whole_frames_and_no_more_than_there_are(cut in 0usize..400, declared: u32) {
            let data: Vec<u8> = (0..300).map(|n| n as u8).collect();
            let mut bytes = pcm(3, 8_000, 24, &data);
            bytes[40..44].copy_from_slice(&declared.to_le_bytes());
            bytes.truncate(cut.min(bytes.len()));
            if let Ok(wav) = read(&bytes, bytes.len() as u64) {
                prop_assert_eq!(wav.data_len % 9, 0);
                prop_assert!(wav.data_at + wav.data_len <= bytes.len() as u64);
            }
        }
    }
}
