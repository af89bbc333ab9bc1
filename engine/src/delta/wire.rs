//! Bytes of a plan node: one JSON header and any number of encoded expressions. Pure.

use datafusion::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EngineError;

/// `header` and `blobs` in one buffer, each after its length.
pub(super) fn join<H: Serialize>(header: &H, blobs: &[Vec<u8>]) -> Result<Vec<u8>> {
    let header = serde_json::to_vec(header).map_err(|error| EngineError::internal(error.to_string()))?;
    let mut bytes = Vec::new();
    for part in std::iter::once(&header).chain(blobs) {
        let length = u32::try_from(part.len()).map_err(|_| EngineError::internal("plan node is larger than 4 GiB"))?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// What [`join`] was given.
pub(super) fn split<H: DeserializeOwned>(mut bytes: &[u8]) -> Result<(H, Vec<&[u8]>)> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let cut = || EngineError::internal("plan node bytes are cut short");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        parts.push(part);
        bytes = rest;
    }
    let mut parts = parts.into_iter();
    let header = parts.next().ok_or_else(|| EngineError::internal("plan node has no header"))?;
    let header = serde_json::from_slice(header)
        .map_err(|error| EngineError::internal(format!("plan node header does not decode: {error}")))?;
    Ok((header, parts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_blobs_survive_and_cut_bytes_are_refused() {
        let bytes = join(&"head", &[vec![1, 2], vec![]]).unwrap();
        let (header, blobs) = split::<String>(&bytes).unwrap();
        assert_eq!((header.as_str(), blobs), ("head", vec![&[1_u8, 2][..], &[][..]]));
        assert!(split::<String>(&bytes[..bytes.len() - 1]).is_err());
        assert!(split::<String>(&[]).is_err());
    }
}
