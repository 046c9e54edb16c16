//! The chunked transfer coding, decoded (RFC 9112 section 7.1). Pure.
//!
//! Strict: line ends are CRLF, sizes are hex digits without sign, extensions and trailers are skipped and bounded.

use crate::limits;

/// A fault of the coding; the connection ends after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkError(pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { digits: u8, size: u64 },
    Extension { size: u64, length: usize },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer { line: usize, total: usize },
    TrailerLf { line: usize, total: usize },
    Done,
}

/// Where the decoder stands between two pieces of input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks(At);

impl Default for Chunks {
    fn default() -> Self {
        Chunks(At::Size { digits: 0, size: 0 })
    }
}

impl Chunks {
    /// Whether the last chunk and the trailers have been read.
    pub fn is_done(&self) -> bool {
        self.0 == At::Done
    }

    /// Decodes `input` onto `out`; gives how much of `input` was used, which is all of it unless the body ended.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            if let At::Data { left } = self.0 {
                let take = left.min((input.len() - used) as u64) as usize;
                out.extend_from_slice(&input[used..used + take]);
                used += take;
                let left = left - take as u64;
                self.0 = if left == 0 { At::DataCr } else { At::Data { left } };
                continue;
            }
            self.0 = match (self.0, byte) {
                (At::Done, _) => break,
                (At::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    // 15 digits are more than any body and can't overflow.
                    if digits == 15 {
                        return Err(ChunkError("a chunk size has more than 15 digits"));
                    }
                    let digit = (byte as char).to_digit(16).unwrap_or(0);
                    At::Size { digits: digits + 1, size: size * 16 + u64::from(digit) }
                }
                (At::Size { digits: 0, .. }, _) => {
                    return Err(ChunkError("a chunk size is not a hex number"));
                }
                (At::Size { size, .. }, b'\r') => At::SizeLf { size },
                (At::Size { size, .. }, b';' | b' ' | b'\t') => At::Extension { size, length: 0 },
                (At::Size { .. }, _) => return Err(ChunkError("a chunk size is not a hex number")),
                (At::Extension { size, .. }, b'\r') => At::SizeLf { size },
                (At::Extension { .. }, b'\n' | 0) => {
                    return Err(ChunkError("a chunk extension has a control character"));
                }
                (At::Extension { size, length }, _) if length < limits::CHUNK_EXTENSION => {
                    At::Extension { size, length: length + 1 }
                }
                (At::Extension { .. }, _) => return Err(ChunkError("a chunk extension is too long")),
                (At::SizeLf { size: 0 }, b'\n') => At::Trailer { line: 0, total: 0 },
                (At::SizeLf { size }, b'\n') => At::Data { left: size },
                (At::SizeLf { .. }, _) => return Err(ChunkError("a chunk size does not end with CRLF")),
                (At::DataCr, b'\r') => At::DataLf,
                (At::DataLf, b'\n') => At::Size { digits: 0, size: 0 },
                (At::DataCr | At::DataLf, _) => return Err(ChunkError("a chunk is longer than it says")),
                (At::Trailer { line, total }, b'\r') => At::TrailerLf { line, total },
                (At::Trailer { .. }, b'\n' | 0) => {
                    return Err(ChunkError("a trailer has a control character"));
                }
                (At::Trailer { line, total }, _) if total < limits::TRAILER_BYTES => {
                    At::Trailer { line: line + 1, total: total + 1 }
                }
                (At::Trailer { .. }, _) => return Err(ChunkError("the trailers are too long")),
                (At::TrailerLf { line: 0, .. }, b'\n') => At::Done,
                (At::TrailerLf { total, .. }, b'\n') => At::Trailer { line: 0, total: total + 2 },
                (At::TrailerLf { .. }, _) => return Err(ChunkError("a trailer does not end with CRLF")),
                (At::Data { .. }, _) => unreachable!("taken above"),
            };
            used += 1;
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(input: &[u8]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let (mut chunks, mut out) = (Chunks::default(), Vec::new());
        let used = chunks.decode(input, &mut out)?;
        Ok((out, used, chunks.is_done()))
    }

    #[test]
    fn chunks_are_joined_and_the_rest_is_left() {
        let (out, used, done) =
            decode(b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET /").unwrap();
        assert_eq!((out.as_slice(), done), (&b"abc0123456789"[..], true));
        assert_eq!(used, b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n".len());
        assert!(!decode(b"3\r\nab").unwrap().2);
    }

    #[test]
    fn abuse_is_refused() {
        let endless = [b"1;".to_vec(), vec![b'x'; limits::CHUNK_EXTENSION + 1]].concat();
        let trailers = [b"0\r\n".to_vec(), b"X: y\r\n".repeat(limits::TRAILER_BYTES)].concat();
        for bad in [
            &b"-1\r\n"[..],
            b"+1\r\n",
            b"0x1\r\n",
            b"\r\n",
            b"g\r\n",
            b"1\nX",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1 \n",
            b"1\rX",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"00000000000000000000001\r\n",
            b"0\r\nX\n",
            b"0\r\nX\rY",
            &endless,
            &trailers,
        ] {
            assert!(decode(bad).is_err(), "{:?}", String::from_utf8_lossy(&bad[..bad.len().min(40)]));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same(
            bytes in proptest::collection::vec(prop_oneof![4 => proptest::sample::select(&b"0123af;\r\n x"[..]), 1 => any::<u8>()], 0..120),
            cut in 0usize..120,
        ) {
            let whole = decode(&bytes);
            let (mut chunks, mut out) = (Chunks::default(), Vec::new());
            let cut = cut.min(bytes.len());
            let parts = chunks.decode(&bytes[..cut], &mut out).and_then(|a| {
                if a < cut { return Ok(a); }
                chunks.decode(&bytes[cut..], &mut out).map(|b| a + b)
            });
            match (whole, parts) {
                (Ok((w, used, done)), Ok(n)) => {
                    prop_assert_eq!(w, out);
                    prop_assert_eq!(used, n);
                    prop_assert_eq!(done, chunks.is_done());
                }
                (Err(a), Err(b)) => prop_assert_eq!(a, b),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..6)) {
            let mut wire = Vec::new();
            for piece in &pieces {
                wire.extend(format!("{:x}\r\n", piece.len()).bytes());
                wire.extend(piece);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let (out, used, done) = decode(&wire).unwrap();
            prop_assert_eq!(out, pieces.concat());
            prop_assert!(done && used == wire.len());
        }
    }
}
