//! Peaks: the smallest and largest sample of every block of a recording, which is all that a waveform shows.
//!
//! Computed once by streaming through the samples, in bounded memory: blocks begin at [`limits::PEAK_BLOCK`] frames, and when a
//! recording has more than [`limits::PEAK_PAIRS`] of them, neighbours are joined and blocks are twice as long from there on.
//! All channels go into one pair; a pair is 16 bits each, full scale 32767. A growing recording goes on where it was.
//!
//! **The file** (`peaks/{recording}.{bytes}.{modified}.peaks` in the data folder, numbers little-endian): `TTPEAKS1`, then
//! u32 sample rate, u16 channels, u16 levels, u32 frames of a block, u32 CRC-32 of all that follows the head, u64 frames; then for
//! each level, finest first, u64 pairs and that many pairs of i16 (min, max). Each level joins eight pairs of the one before.
//! The name holds the size and the time of the file they were computed from: when those are others now, they are stale.

use super::wav::{Coding, ReadAt, Wav, scaled};
use crate::limits;
use std::io::{self, Read};

const MAGIC: &[u8; 8] = b"TTPEAKS1";
const HEAD: usize = 8 + 4 + 2 + 2 + 4 + 4 + 8;
/// Pairs of one level that are one pair of the next.
const FACTOR: usize = 8;
/// The coarsest level has no fewer pairs than this: no waveform asks for fewer than the next one would have.
const COARSEST: usize = 64;
/// What is read at one time.
const CHUNK: usize = 256 * 1024;

/// The smallest and the largest sample of a block.
pub(super) type Pair = [i16; 2];

/// Neither has been seen yet.
const NOTHING: Pair = [i16::MAX, i16::MIN];

fn join(a: Pair, b: Pair) -> Pair {
    [a[0].min(b[0]), a[1].max(b[1])]
}

/// Peaks of what has been read so far.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    wav: Wav,
    pairs: Vec<Pair>,
    /// Frames of a block.
    block: u64,
    /// The block being filled, and the frames in it.
    open: (Pair, u64),
    frames: u64,
}

impl Builder {
    /// Nothing read yet; none for a coding that is not read.
    pub fn new(wav: Wav) -> Option<Builder> {
        wav.coding?;
        Some(Builder { wav, pairs: Vec::new(), block: limits::PEAK_BLOCK, open: (NOTHING, 0), frames: 0 })
    }

    /// Whether it can go on with the samples of `wav`, which is the same file later.
    pub fn continues(&self, wav: &Wav) -> bool {
        (wav.coding, wav.channels, wav.rate, wav.data_at)
            == (self.wav.coding, self.wav.channels, self.wav.rate, self.wav.data_at)
            && wav.frames() >= self.frames
    }

    /// Reads on to the end of `wav`'s samples. `go_on` is asked now and then, with the frames read; false ends it early.
    ///
    /// # Errors
    /// When the file can't be read; what was read counts.
    pub fn read_on(
        &mut self,
        file: &impl ReadAt,
        wav: &Wav,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> io::Result<()> {
        let Some(coding) = wav.coding else { return Ok(()) };
        let frame = u64::from(wav.frame);
        let at_once = (CHUNK as u64 / frame).max(1);
        let mut bytes = vec![0; (at_once * frame) as usize];
        while self.frames < wav.frames() && go_on(self.frames) {
            // A chunk ends where its last block does, so that a block is rarely in two.
            let frames = at_once.min(wav.frames() - self.frames);
            let Some(part) = bytes.get_mut(..(frames * frame) as usize) else { break };
            file.read_exact_at(part, wav.data_at + self.frames * frame)?;
            self.take(coding, part);
        }
        Ok(())
    }

    /// Takes whole frames.
    fn take(&mut self, coding: Coding, mut bytes: &[u8]) {
        let frame = u64::from(self.wav.frame);
        while !bytes.is_empty() {
            let wanted = self.block - self.open.1;
            let length = ((wanted * frame) as usize).min(bytes.len());
            let (block, rest) = bytes.split_at(length);
            self.open.0 = join(self.open.0, extremes(coding, block));
            self.open.1 += length as u64 / frame;
            self.frames += length as u64 / frame;
            if self.open.1 == self.block {
                self.close();
            }
            bytes = rest;
        }
    }

    fn close(&mut self) {
        self.pairs.push(self.open.0);
        self.open = (NOTHING, 0);
        if self.pairs.len() >= limits::PEAK_PAIRS {
            self.pairs = joined(&self.pairs, 2);
            self.block *= 2;
        }
    }

    /// The peaks of what has been read.
    pub fn peaks(&self) -> Peaks {
        let mut finest = self.pairs.clone();
        if self.open.1 > 0 {
            finest.push(self.open.0);
        }
        let mut levels = vec![finest];
        while let Some(last) = levels.last().filter(|l| l.len() >= FACTOR * COARSEST) {
            let next = joined(last, FACTOR);
            levels.push(next);
        }
        Peaks {
            rate: self.wav.rate,
            channels: self.wav.channels,
            block: self.block as u32,
            frames: self.frames,
            levels,
        }
    }
}

fn joined(pairs: &[Pair], by: usize) -> Vec<Pair> {
    pairs.chunks(by).map(|group| group.iter().copied().fold(NOTHING, join)).collect()
}

/// The smallest and largest of many samples.
fn extremes(coding: Coding, bytes: &[u8]) -> Pair {
    /// Written so that the compiler uses wide registers.
    fn of<const N: usize>(bytes: &[u8], sample: impl Fn([u8; N]) -> i16) -> Pair {
        let (mut low, mut high) = (i16::MAX, i16::MIN);
        for chunk in bytes.as_chunks::<N>().0 {
            let value = sample(*chunk);
            low = low.min(value);
            high = high.max(value);
        }
        [low, high]
    }
    // Not a number is silence; what is louder than full scale is full scale.
    let float = |value: f64| (value * 32767.0).round().clamp(-32768.0, 32767.0) as i16;
    match coding {
        Coding::U8 => of(bytes, |[b]| (i16::from(b) - 128) * 256),
        Coding::I16 => of(bytes, i16::from_le_bytes),
        Coding::I24 => of(bytes, |[_, low, high]| i16::from_le_bytes([low, high])),
        Coding::I32 => of(bytes, |[_, _, low, high]| i16::from_le_bytes([low, high])),
        Coding::F32 => of(bytes, |b| float(f64::from(f32::from_le_bytes(b)))),
        Coding::F64 => of(bytes, |b| float(f64::from_le_bytes(b))),
    }
}

/// Peaks at several levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peaks {
    pub rate: u32,
    pub channels: u16,
    /// Frames of a block of the finest level.
    pub block: u32,
    pub frames: u64,
    /// Finest first.
    levels: Vec<Vec<Pair>>,
}

/// A waveform as it is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    pub min: Vec<i16>,
    pub max: Vec<i16>,
}

impl Drawn {
    fn of(pairs: impl Iterator<Item = Pair>) -> Drawn {
        // A group without samples is silent.
        let (min, max) = pairs.map(|p| if p[0] > p[1] { (0, 0) } else { (p[0], p[1]) }).unzip();
        Drawn { min, max }
    }
}

impl Peaks {
    /// Whether `points` can be drawn from these without making any up.
    pub fn fine_enough(&self, points: usize, from: u64, until: u64) -> bool {
        until.saturating_sub(from) / u64::from(self.block.max(1)) >= points as u64
    }

    /// `points` pairs from frame `from` to frame `until`, from the coarsest level that has so many.
    pub fn draw(&self, points: usize, from: u64, until: u64) -> Drawn {
        let until = until.min(self.frames);
        let span = until.saturating_sub(from);
        let mut level = 0;
        let mut block = u64::from(self.block.max(1));
        while level + 1 < self.levels.len() && span / (block * FACTOR as u64) >= points as u64 {
            level += 1;
            block *= FACTOR as u64;
        }
        let pairs = self.levels.get(level).map_or(&[][..], Vec::as_slice);
        Drawn::of((0..points as u64).map(|n| {
            let first = (from + scaled(span, n, points as u64)) / block;
            let last = (from + scaled(span, n + 1, points as u64)).div_ceil(block).max(first + 1);
            let last = usize::try_from(last).unwrap_or(usize::MAX).min(pairs.len());
            let first = usize::try_from(first).unwrap_or(usize::MAX).min(last);
            pairs[first..last].iter().copied().fold(NOTHING, join)
        }))
    }

    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.levels.iter().map(|l| 8 + l.len() * 4).sum());
        for level in &self.levels {
            body.extend((level.len() as u64).to_le_bytes());
            level.iter().flatten().for_each(|n| body.extend(n.to_le_bytes()));
        }
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend(MAGIC);
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend((self.levels.len() as u16).to_le_bytes());
        bytes.extend(self.block.to_le_bytes());
        bytes.extend(checksum(&body).to_le_bytes());
        bytes.extend(self.frames.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// Reads a file; none when it is not one of ours, or damaged.
    pub fn read(mut file: impl Read) -> Option<Peaks> {
        let mut bytes = Vec::new();
        file.by_ref().take(limits::PEAK_FILE_BYTES).read_to_end(&mut bytes).ok()?;
        let (head, mut body) = bytes.split_at_checked(HEAD)?;
        let number = |at: usize, n: usize| {
            let mut wide = [0; 8];
            wide[..n].copy_from_slice(&head[at..at + n]);
            u64::from_le_bytes(wide)
        };
        if &head[..8] != MAGIC || number(20, 4) != u64::from(checksum(body)) {
            return None;
        }
        let (rate, channels, count) = (number(8, 4) as u32, number(12, 2) as u16, number(14, 2));
        let (block, frames) = (number(16, 4) as u32, number(24, 8));
        let mut levels = Vec::new();
        for _ in 0..count {
            let (pairs, rest) = body.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*pairs)).ok()?.checked_mul(4)?;
            let (pairs, rest) = rest.split_at_checked(length)?;
            let pair = |b: &[u8; 4]| [i16::from_le_bytes([b[0], b[1]]), i16::from_le_bytes([b[2], b[3]])];
            levels.push(pairs.as_chunks::<4>().0.iter().map(pair).collect());
            body = rest;
        }
        (!levels.is_empty() && block > 0).then_some(Peaks { rate, channels, block, frames, levels })
    }
}

/// CRC-32 as in zip and PNG (ISO 3309).
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut c = n as u32;
            let mut k = 0;
            while k < 8 {
                c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
                k += 1;
            }
            table[n] = c;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |c, b| TABLE[usize::from(c as u8 ^ b)] ^ (c >> 8))
}

/// Draws `points` by reading every sample from `from` to `until`; for short spans.
///
/// # Errors
/// When the file can't be read.
pub(super) fn draw_exactly(
    file: &impl ReadAt,
    wav: &Wav,
    points: usize,
    from: u64,
    until: u64,
) -> io::Result<Drawn> {
    let Some(coding) = wav.coding else { return Ok(Drawn { min: Vec::new(), max: Vec::new() }) };
    let (until, frame) = (until.min(wav.frames()), u64::from(wav.frame));
    let span = until.saturating_sub(from);
    let mut bytes = vec![0; (span * frame) as usize];
    file.read_exact_at(&mut bytes, wav.data_at + from * frame)?;
    Ok(Drawn::of((0..points as u64).map(|n| {
        let first = scaled(span, n, points as u64);
        let last = scaled(span, n + 1, points as u64).max(first + 1).min(span);
        let range = (first.min(last) * frame) as usize..(last * frame) as usize;
        bytes.get(range).map_or(NOTHING, |part| extremes(coding, part))
    })))
}

/// Draws `points` from a short piece at the beginning of each: right in places, for a first look at a long file.
///
/// # Errors
/// When the file can't be read.
pub(super) fn draw_roughly(
    file: &impl ReadAt,
    wav: &Wav,
    points: usize,
    from: u64,
    until: u64,
) -> io::Result<Drawn> {
    let Some(coding) = wav.coding else { return Ok(Drawn { min: Vec::new(), max: Vec::new() }) };
    let (until, frame) = (until.min(wav.frames()), u64::from(wav.frame));
    let span = until.saturating_sub(from);
    // One page of the file each: what the disk reads anyway.
    let most = (4096 / frame).max(1);
    let mut bytes = vec![0; (most * frame) as usize];
    let looks = points.min(limits::PEAK_LOOKS) as u64;
    let mut pairs = Vec::with_capacity(looks as usize);
    for n in 0..looks {
        let first = from + scaled(span, n, looks);
        let frames = most.min((from + scaled(span, n + 1, looks)).saturating_sub(first));
        let Some(part) = bytes.get_mut(..(frames * frame) as usize) else { break };
        file.read_exact_at(part, wav.data_at + first * frame)?;
        pairs.push(extremes(coding, part));
    }
    let look = |n: u64| pairs.get(scaled(n, looks, points as u64) as usize).copied().unwrap_or(NOTHING);
    Ok(Drawn::of((0..points as u64).map(look)))
}

#[cfg(test)]
mod tests {
    use super::super::wav;
    use super::super::wav::tests::pcm;
    use super::*;
    use proptest::prelude::*;

    fn of(bytes: &Vec<u8>) -> (Wav, Peaks) {
        let wav = wav::read(bytes, bytes.len() as u64).unwrap();
        let mut builder = Builder::new(wav).unwrap();
        builder.read_on(bytes, &wav, |_| true).unwrap();
        (wav, builder.peaks())
    }

    fn mono(samples: &[i16]) -> Vec<u8> {
        pcm(1, 8_000, 16, &samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn a_loud_sample_is_where_it_is_and_nowhere_else() {
        let mut samples = vec![0_i16; 256 * 4000];
        samples[256 * 1000 + 17] = 30_000;
        samples[256 * 3000] = -20_000;
        let bytes = mono(&samples);
        let (wav, peaks) = of(&bytes);
        assert!(peaks.fine_enough(1000, 0, wav.frames()));
        let drawn = peaks.draw(1000, 0, wav.frames());
        let at = |n: usize| (drawn.min[n], drawn.max[n]);
        assert_eq!((drawn.min.len(), at(250), at(750), at(0)), (1000, (0, 30_000), (-20_000, 0), (0, 0)));
        assert_eq!(drawn.max.iter().filter(|n| **n != 0).count(), 1);
        // Closer: the half that holds the second one.
        let near = peaks.draw(100, 256 * 2000, wav.frames());
        assert_eq!(near.min.iter().position(|n| *n == -20_000), Some(50));
    }

    #[test]
    fn every_coding_says_the_same() {
        let of_bytes = |tag: u16, bits: u16, data: &[u8]| {
            let mut bytes = pcm(1, 8_000, bits, data);
            bytes[20..22].copy_from_slice(&tag.to_le_bytes());
            of(&bytes).1.levels[0][0]
        };
        assert_eq!(of_bytes(1, 8, &[128, 0, 255]), [-32768, 32512]);
        assert_eq!(of_bytes(1, 16, &[0, 128, 255, 127]), [-32768, 32767]);
        assert_eq!(of_bytes(1, 24, &[0, 0, 128, 0, 255, 127]), [-32768, 32767]);
        assert_eq!(of_bytes(1, 32, &[0, 0, 0, 128, 0, 0, 255, 127]), [-32768, 32767]);
        let floats: Vec<u8> = [-2.0_f32, f32::NAN, 0.5].iter().flat_map(|f| f.to_le_bytes()).collect();
        assert_eq!(of_bytes(3, 32, &floats), [-32768, 16384]);
        let floats: Vec<u8> = [-1.0_f64, 1.0].iter().flat_map(|f| f.to_le_bytes()).collect();
        assert_eq!(of_bytes(3, 64, &floats), [-32767, 32767]);
    }

    #[test]
    fn a_growing_file_goes_on_where_it_was() {
        let samples: Vec<i16> = (0..100_000).map(|n| (n % 30_011) as i16 - 15_000).collect();
        let whole = mono(&samples);
        let (wav, expected) = of(&whole);
        let mut builder = None;
        for part in [1_001, 40_000, 40_001, 100_000] {
            let bytes = mono(&samples[..part]);
            let now = wav::read(&bytes, bytes.len() as u64).unwrap();
            let builder = builder.get_or_insert_with(|| Builder::new(now).unwrap());
            assert!(builder.continues(&now));
            builder.read_on(&bytes, &now, |_| true).unwrap();
            assert_eq!(builder.frames, part as u64);
        }
        assert_eq!(builder.unwrap().peaks(), expected);
        assert_eq!(expected.frames, wav.frames());
    }

    #[test]
    fn memory_stays_bounded_however_long_it_is() {
        let wav = wav::read(&mono(&[]), 44).unwrap();
        let mut builder = Builder::new(wav).unwrap();
        let block: Vec<u8> = (0..limits::PEAK_BLOCK).flat_map(|_| 1_i16.to_le_bytes()).collect();
        for _ in 0..limits::PEAK_PAIRS * 3 {
            builder.take(Coding::I16, &block);
        }
        assert_eq!(builder.block, limits::PEAK_BLOCK * 4);
        let peaks = builder.peaks();
        assert!(peaks.levels[0].len() <= limits::PEAK_PAIRS);
        assert!((peaks.to_bytes().len() as u64) < limits::PEAK_FILE_BYTES);
        assert!(peaks.draw(8192, 0, peaks.frames).max.iter().all(|n| *n == 1));
    }

    #[test]
    fn a_rough_look_is_right_where_it_looks() {
        let samples: Vec<i16> = (0..1_000_000).map(|n| if n < 500_000 { 100 } else { -100 }).collect();
        let bytes = mono(&samples);
        let (wav, _) = of(&bytes);
        let drawn = draw_roughly(&bytes, &wav, 100, 0, wav.frames()).unwrap();
        assert_eq!((drawn.max[0], drawn.min[99], drawn.min.len()), (100, -100, 100));
        let drawn = draw_exactly(&bytes, &wav, 10, 499_995, 500_005).unwrap();
        assert_eq!(drawn.min, [100, 100, 100, 100, 100, -100, -100, -100, -100, -100]);
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn drawn_extremes_are_those_of_the_samples(
            samples in proptest::collection::vec(any::<i16>(), 1..5000), points in 10usize..300,
        ) {
            let bytes = mono(&samples);
            let (wav, peaks) = of(&bytes);
            let (low, high) = (*samples.iter().min().unwrap(), *samples.iter().max().unwrap());
            let exact = draw_exactly(&bytes, &wav, points, 0, wav.frames()).unwrap();
            if samples.len() >= points {
                prop_assert_eq!((*exact.min.iter().min().unwrap(), *exact.max.iter().max().unwrap()), (low, high));
            }
            let drawn = peaks.draw(points, 0, wav.frames());
            prop_assert_eq!((*drawn.min.iter().min().unwrap(), *drawn.max.iter().max().unwrap()), (low, high));
            prop_assert_eq!(Peaks::read(&peaks.to_bytes()[..]), Some(peaks));
        }

        #[test]
        fn damaged_files_are_not_believed(at in 0usize..200, flip in 1u8..) {
            let (_, peaks) = of(&mono(&(0..5000).collect::<Vec<i16>>()));
            let mut bytes = peaks.to_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            // The few members of the head that are not covered say how it is drawn, not whether.
            let _ = Peaks::read(&bytes[..]).map(|p| p.draw(100, 0, p.frames));
            if !(8..HEAD).contains(&at) {
                prop_assert_eq!(Peaks::read(&bytes[..]), None);
            }
            let _ = Peaks::read(&bytes[..at]);
        }
    }
}
