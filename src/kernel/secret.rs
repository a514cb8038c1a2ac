//! A wrapper for values that must not leak.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A value that is wiped when dropped and cannot be printed, cloned, compared or serialized.
///
/// The only way in is [`Secret::new`], the only way to read is [`Secret::expose`]: the word that
/// reviewers search for.
///
/// ```
/// use valetkey::kernel::secret::Secret;
/// let (one, other) = (Secret::new(String::from("a")), Secret::new(String::from("a")));
/// assert!(format!("{one:?}").contains("redacted") && one.expose() == other.expose());
/// # let _ = serde_json::to_string("a");
/// ```
///
/// The same with the secrets themselves does not compile. They are not shown:
///
/// ```compile_fail,E0277
/// use valetkey::kernel::secret::Secret;
/// let one = Secret::new(String::from("a"));
/// let _ = format!("{one}");
/// ```
///
/// nor cloned:
///
/// ```compile_fail,E0599
/// use valetkey::kernel::secret::Secret;
/// let one = Secret::new(String::from("a"));
/// let _ = one.clone();
/// ```
///
/// nor compared:
///
/// ```compile_fail,E0369
/// use valetkey::kernel::secret::Secret;
/// let (one, other) = (Secret::new(String::from("a")), Secret::new(String::from("a")));
/// let _ = one == other;
/// ```
///
/// nor serialized:
///
/// ```compile_fail,E0277
/// use valetkey::kernel::secret::Secret;
/// let one = Secret::new(String::from("a"));
/// let _ = serde_json::to_string(&one);
/// ```
///
/// nor read from what was serialized, where a copy would stay behind:
///
/// ```compile_fail,E0277
/// use valetkey::kernel::secret::Secret;
/// let _ = serde_json::from_str::<Secret<String>>("\"a\"");
/// ```
pub struct Secret<T: Zeroize>(Zeroizing<T>);

/// A secret text, such as a refresh token or a client secret.
pub type SecretString = Secret<String>;
/// Secret bytes, such as the body of a token response.
pub type SecretBytes = Secret<Vec<u8>>;

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of a secret. The caller must not keep a copy.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// Reads the secret. Every call is a place where it could leak.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Reads the secret for writing, for buffers that are filled in place.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Secret<String> {
    /// The secret's text.
    pub fn expose_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same secret as bytes, without leaving a copy behind.
    pub fn into_bytes(mut self) -> SecretBytes {
        Secret::new(std::mem::take(&mut *self.0).into_bytes())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_holds_the_value() {
        let secret = Secret::new(String::from("canary"));
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(secret.expose(), "canary");
    }
}
