//! The provider token never comes back, not even when the provider repeats it: some
//! put it into links or error texts.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::kernel::secret::SecretString;
use crate::net::NetError;

type Chunks = BoxStream<'static, Result<Bytes, NetError>>;

/// Texts shorter than this are no tokens, and would be found where they mean nothing.
const SHORTEST: usize = 16;

/// Whether a text holds the token.
pub fn holds(text: &[u8], token: &[u8]) -> bool {
    token.len() >= SHORTEST && find(text, token).is_some()
}

/// The same answer with the token starred out, also where it runs over from one chunk to the next. The
/// length stays what it was announced to be.
pub fn masked(chunks: Chunks, token: Arc<SecretString>) -> Chunks {
    if token.expose_str().len() < SHORTEST {
        return chunks;
    }
    let start = (chunks.fuse(), Vec::new(), token);
    let masked = stream::unfold(start, |(mut chunks, mut held, token)| async move {
        let secret = token.expose_str().as_bytes();
        while let Some(next) = chunks.next().await {
            let chunk = match next {
                Ok(chunk) => chunk,
                Err(error) => return Some((Err(error), (chunks, Vec::new(), token))),
            };
            let whole = mask(std::mem::take(&mut held), chunk, secret);
            let kept = whole.len() - beginning_of(secret, &whole);
            held = whole.slice(kept..).to_vec();
            if kept > 0 {
                return Some((Ok(whole.slice(..kept)), (chunks, held, token)));
            }
        }
        let last = std::mem::take(&mut held);
        (!last.is_empty()).then(|| (Ok(Bytes::from(last)), (chunks, held, token)))
    });
    masked.boxed()
}

/// Joins what was held back with a chunk. Nothing is copied where there is nothing to star out.
fn mask(held: Vec<u8>, chunk: Bytes, secret: &[u8]) -> Bytes {
    if held.is_empty() && find(&chunk, secret).is_none() {
        return chunk;
    }
    let mut whole = held;
    whole.extend_from_slice(&chunk);
    let mut from = 0;
    while let Some(at) = whole.get(from..).and_then(|rest| find(rest, secret)) {
        let (start, end) = (from + at, from + at + secret.len());
        whole.get_mut(start..end).unwrap_or_default().fill(b'*');
        from = end;
    }
    Bytes::from(whole)
}

/// How many bytes at the end may be the beginning of the token.
fn beginning_of(secret: &[u8], text: &[u8]) -> usize {
    let longest = text.len().min(secret.len().saturating_sub(1));
    (1..=longest)
        .rev()
        .find(|length| secret.get(..*length).is_some_and(|start| text.ends_with(start)))
        .unwrap_or(0)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "aab-token-aab-token";

    fn run(chunks: &[&[u8]]) -> Vec<u8> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let masked = masked(stream::iter(chunks).boxed(), Arc::new(SecretString::new(TOKEN.to_owned())));
        let all: Vec<_> = futures_util::FutureExt::now_or_never(masked.collect()).unwrap();
        all.into_iter().flat_map(|chunk| chunk.unwrap().to_vec()).collect()
    }

    #[test]
    fn a_token_in_one_chunk_is_starred_out_and_the_rest_passes() {
        let text = format!("x{TOKEN}y{TOKEN}");
        let stars = "*".repeat(TOKEN.len());
        assert_eq!(run(&[text.as_bytes()]), format!("x{stars}y{stars}").into_bytes());
        assert_eq!(run(&[b"aab-token", b"-", b"", b"end aab"]), b"aab-token-end aab");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_token_never_comes_back(
            before in "[ab-]{0,12}", after in "[ab-]{0,12}", cuts in prop::collection::vec(0usize..44, 0..6)
        ) {
            let text = format!("{before}{TOKEN}{after}").into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let out = run(&chunks);
            prop_assert_eq!(out.len(), text.len());
            prop_assert!(!holds(&out, TOKEN.as_bytes()));
        }
    }
}
