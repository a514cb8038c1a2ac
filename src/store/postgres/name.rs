//! Keys as the database keeps them: its index takes no more than some 2,700 bytes.

use aws_lc_rs::digest;
use bytes::Bytes;

/// The longest key that stands for itself.
const PLAIN: usize = 2000;

/// The key's form in the index. A long key is its beginning and a hash, so that it is found by its prefix as
/// well as by itself; the whole key stands beside it. No plain key is as long as such a one.
pub(super) fn stored(key: &[u8]) -> Vec<u8> {
    match key.split_at_checked(PLAIN) {
        None => key.to_vec(),
        Some((_, [])) => key.to_vec(),
        Some((start, _)) => [start, digest::digest(&digest::SHA256, key).as_ref()].concat(),
    }
}

/// The whole key, where it is not what the index has.
pub(super) fn whole(key: &[u8]) -> Option<&[u8]> {
    (key.len() > PLAIN).then_some(key)
}

/// From where, and up to where, keys of a prefix lie that come after another one.
pub(super) fn range(prefix: &[u8], after: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let prefix = prefix.get(..PLAIN.min(prefix.len())).unwrap_or_default();
    let mut from = prefix.to_vec();
    if let Some(after) = after {
        // The smallest key that is greater.
        let mut next = stored(after);
        next.push(0);
        from = from.max(next);
    }
    let mut to = prefix.to_vec();
    while let Some(last) = to.pop() {
        if let Some(more) = last.checked_add(1) {
            to.push(more);
            return (from, to);
        }
    }
    // Nothing comes after all of these: no key is as long.
    (from, vec![0xff; PLAIN + 64])
}

/// Whether a page has to be looked through for keys that only begin like the prefix.
pub(super) fn is_long(prefix: &[u8]) -> bool {
    prefix.len() > PLAIN
}

/// The key of a row.
pub(super) fn key_of(key: Vec<u8>, whole: Option<Vec<u8>>) -> Bytes {
    Bytes::from(whole.unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_prefix_and_nothing_else() {
        assert_eq!(range(b"a/", None), (b"a/".to_vec(), b"a0".to_vec()));
        assert_eq!(range(b"a/", Some(b"a/1")).0, b"a/1\0");
        assert_eq!(range(b"a/", Some(b"a")).0, b"a/");
        assert_eq!(range(b"a\xff", None).1, b"b");
        assert_eq!(range(b"", None).1, vec![0xff; PLAIN + 64]);
    }

    #[test]
    fn long_keys_stay_apart_and_keep_their_prefix() {
        let (one, two) = (vec![b'k'; 2001], [vec![b'k'; 2001], vec![b'l']].concat());
        assert_ne!(stored(&one), stored(&two));
        assert!(stored(&two).starts_with(&one[..PLAIN]) && stored(&two).len() < 2700);
        assert_eq!((whole(&one), whole(&one[..PLAIN])), (Some(one.as_slice()), None));
        assert_eq!(stored(&one[..PLAIN]), one[..PLAIN]);
    }
}
