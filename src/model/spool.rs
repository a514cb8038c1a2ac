//! Where the answers of providers lie that are not in the store yet, and what stands around each. Whoever writes them,
//! backs them up or asks for their key terms has it from here.

/// The folder below the data folder.
pub const FOLDER: &str = "spool";
/// The folder beside it, of files that hold nothing of use here. They keep no key term: what lies there opens for as
/// long as its term is not retired.
pub const ASIDE: &str = "spool.aside";
/// `format | length of what is sealed`, in front of it.
const MAGIC: &[u8; 8] = b"vkspool1";

/// What a file holds for a sealed answer; nothing for one that is too long for any.
pub fn frame(sealed: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(sealed.len()).ok()?;
    Some([MAGIC.as_slice(), &length.to_be_bytes(), sealed].concat())
}

/// The sealed answer in a file, whatever follows it; nothing where its end is missing.
pub fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.strip_prefix(MAGIC.as_slice())?.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
