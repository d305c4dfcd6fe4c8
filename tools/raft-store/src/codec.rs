//! Entries and marks as bytes: a version, then the value in postcard's format.

use serde::{Serialize, de::DeserializeOwned};
use std::io;

/// The first byte of each record.
const VERSION: u8 = 1;

/// Adds a value to the bytes.
pub(crate) fn encode<T: Serialize>(value: &T, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    bytes.push(VERSION);
    postcard::to_extend(value, bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// The value in the bytes, which must hold nothing else. `what` says in an error what was read.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> io::Result<T> {
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {reason}"));
    let Some((&VERSION, bytes)) = bytes.split_first() else {
        let version = bytes.first().map_or("no".to_owned(), u8::to_string);
        return Err(wrong(format!("it has {version} version, and this build knows version {VERSION}")));
    };
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(wrong(format!("{} bytes follow the value", rest.len()))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// An error of the log's.
pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_nothing_else_passes_for_one() {
        let bytes = encode(&(7_u64, "seven".to_owned()), Vec::new()).expect("encoded");
        assert_eq!(decode::<(u64, String)>(&bytes, "entry 3").expect("decoded"), (7, "seven".to_owned()));
        let refused = |bytes: &[u8]| decode::<(u64, String)>(bytes, "entry 3").expect_err("refused").to_string();
        assert_eq!(refused(&[]), "entry 3: it has no version, and this build knows version 1");
        assert!(refused(&[9, 7]).contains("it has 9 version"));
        assert!(refused(&bytes[..bytes.len() - 1]).starts_with("entry 3: "));
        assert!(refused(&[&bytes[..], b"x"].concat()).contains("1 bytes follow"));
    }
}
