//! Payloads that a producer compressed: gzip and zstd, told by their first bytes.
//!
//! Neither JSON nor CSV can begin with these bytes, so nothing needs to be declared. What comes out is
//! bounded: a small record must not become all of the memory.

use std::borrow::Cow;
use std::io::{self, Read};

const GZIP: [u8; 3] = [0x1F, 0x8B, 0x08];

const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// `payload` without its compression, if it has one.
///
/// # Errors
///
/// Words for a payload that is damaged, or that is larger than `bytes_max` once decompressed.
pub(crate) fn decompress(payload: &[u8], bytes_max: u64) -> Result<Cow<'_, [u8]>, String> {
    let (name, done) = if payload.starts_with(&GZIP) {
        ("gzip", bounded(flate2::read::MultiGzDecoder::new(payload), bytes_max))
    } else if payload.starts_with(&ZSTD) {
        let stream = zstd::stream::read::Decoder::with_buffer(payload);
        ("zstd", stream.and_then(|stream| bounded(stream, bytes_max)))
    } else {
        return Ok(Cow::Borrowed(payload));
    };
    match done {
        Ok(Some(bytes)) => Ok(Cow::Owned(bytes)),
        Ok(None) => Err(format!("the {name} payload is larger than {bytes_max} bytes")),
        Err(error) => Err(format!("the {name} payload is damaged: {error}")),
    }
}

/// All of `stream`, or nothing if that is more than `bytes_max`.
fn bounded(stream: impl Read, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    stream.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn what_was_compressed_comes_out() {
        for payload in [gzip(b"{\"n\":1}"), zstd(b"{\"n\":1}"), b"{\"n\":1}".to_vec()] {
            assert_eq!(decompress(&payload, 100).unwrap(), &b"{\"n\":1}"[..]);
        }
        let two = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(decompress(&two, 100).unwrap(), &b"a\nb\n"[..]);
    }

    #[test]
    fn a_bomb_is_refused_and_damage_is_named() {
        let zeros = vec![0; 1 << 20];
        for (name, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
            assert!(bomb.len() * 100 < zeros.len());
            let refused = decompress(&bomb, (1 << 20) - 1).unwrap_err();
            assert!(refused.contains(name) && refused.contains("larger"), "{refused}");
            assert_eq!(decompress(&bomb, 1 << 20).unwrap().len(), 1 << 20);
            let cut = decompress(&bomb[..bomb.len() / 2], 1 << 20).unwrap_err();
            assert!(cut.contains("damaged"), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, magic in 0..3_usize) {
            let magic: &[u8] = [&GZIP[..], &ZSTD, &[]][magic];
            if let Ok(out) = decompress(&[magic, &bytes].concat(), 1 << 16) {
                prop_assert!(out.len() <= (1 << 16) || magic.is_empty());
            }
        }
    }
}
