//! Pages of a list, with page tokens that clients cannot make up.

use serde_json::Value;

use crate::kernel::encode;

/// One page of a list.
pub struct Page {
    /// What is on it.
    pub items: Vec<Value>,
    /// Where the next one begins, if there is one.
    pub next: Option<String>,
}

impl Page {
    /// The `size` items after `token`; `None` when the token was never issued.
    pub fn cut(items: Vec<Value>, size: usize, token: Option<&str>) -> Option<Self> {
        let from = match token.filter(|token| !token.is_empty()) {
            Some(token) => {
                let text = String::from_utf8(encode::from_base64url(token)?).ok()?;
                text.strip_prefix("page:")?.parse().ok()?
            }
            None => 0usize,
        };
        let total = items.len();
        let items: Vec<Value> = items.into_iter().skip(from).take(size.max(1)).collect();
        let end = from + items.len();
        let next = (end < total).then(|| encode::base64url(format!("page:{end}").as_bytes()));
        Some(Self { items, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let items: Vec<Value> = (0..5).map(Value::from).collect();
        let first = Page::cut(items.clone(), 3, None).unwrap();
        assert_eq!(first.items.len(), 3);
        let second = Page::cut(items.clone(), 3, first.next.as_deref()).unwrap();
        assert_eq!((second.items.len(), second.next), (2, None));
        assert!(Page::cut(items, 3, Some("made-up")).is_none());
    }
}
