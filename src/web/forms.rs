//! Forms of our own pages: read strictly, and only from the browser that the page was made for.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, web};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::secret::SecretString;
use crate::server::body;
use crate::server::csrf::{self, CsrfError};
use crate::server::params::Params;
use crate::vault::Vault;
use crate::web::failure::Failure;
use crate::web::state::WebState;
use crate::web::views::Forms;
use crate::web::visit::Visit;

/// How long a form works after its page was opened.
pub const FORM_LIFE: Duration = Duration::from_secs(4 * 3600);

/// A form that was read, its token not yet looked at unless it came from [`Visit::form`].
pub struct Form {
    params: Params,
}

/// Why a form's token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The page was opened too long ago.
    TooOld,
    /// It is not one of ours, or another browser's.
    NotOurs,
}

impl From<Refused> for Failure {
    fn from(_: Refused) -> Self {
        Self::FormExpired
    }
}

impl Form {
    /// Reads a form. Fields that the page does not have are refused.
    ///
    /// # Errors
    /// When it is not such a form.
    pub async fn read(
        request: &HttpRequest,
        payload: web::Payload,
        fields: &[&str],
        repeatable: &[&str],
    ) -> Result<Self, Failure> {
        let params = body::read_page_form(request, payload, repeatable).await?;
        let is_known = |name: &str| name == "csrf" || fields.contains(&name) || repeatable.contains(&name);
        if !params.names().all(is_known) {
            return Err(Failure::BadRequest);
        }
        Ok(Self { params })
    }

    /// Checks where the form came from, and its token: made for this browser and purpose, not long ago.
    /// Returns when the page was opened.
    ///
    /// # Errors
    /// When one of them does not hold.
    pub fn check(
        &self,
        visit: &Visit,
        purpose: &str,
        binding: Option<TokenDigest>,
        life: Duration,
    ) -> Result<Timestamp, Refused> {
        let given = self.params.get("csrf").unwrap_or_default();
        let (made, mac) = given.split_once('.').unwrap_or_default();
        let made_at = made.parse::<i64>().map(Timestamp::from_secs).map_err(|_| Refused::NotOurs);
        // Where it came from is looked at even when there is no token to look at.
        let expected = match (&made_at, binding) {
            (Ok(_), Some(binding)) => mac_of(&visit.state.vault, &binding, purpose, made),
            _ => [0; 32],
        };
        match csrf::check(&visit.request, &visit.inbound, &expected, Some(mac)) {
            Ok(()) => {}
            Err(CsrfError::CrossSite | CsrfError::Token) => return Err(Refused::NotOurs),
        }
        let opened_at = made_at?;
        if binding.is_none() || visit.page.now.since(opened_at) > life {
            return Err(Refused::TooOld);
        }
        Ok(opened_at)
    }

    /// A field's text; nothing for an empty one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// A field's text without space around it; empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default().trim()
    }

    /// A field that holds a secret.
    pub fn secret(&self, name: &str) -> SecretString {
        SecretString::new(self.params.get(name).unwrap_or_default().to_owned())
    }

    /// All values of a repeated field.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        self.params.all(name)
    }
}

/// Makes the tokens of forms for one browser: the moment, and a keyed hash over browser, purpose, moment.
pub fn maker(state: &WebState, binding: TokenDigest) -> Forms {
    let vault = Arc::clone(&state.vault);
    let made = state.clock.now().secs().to_string();
    Forms::new(move |purpose| {
        let mac = csrf::token_text(&mac_of(&vault, &binding, purpose, &made));
        format!("{made}.{mac}")
    })
}

fn mac_of(vault: &Vault, binding: &TokenDigest, purpose: &str, made: &str) -> [u8; 32] {
    vault.mac("csrf", &[binding.hex().as_bytes(), purpose.as_bytes(), made.as_bytes()])
}

/// A fresh random text for a browser's mark.
pub fn random_mark(state: &WebState) -> SecretString {
    let random = zeroize::Zeroizing::new(crate::kernel::entropy::bytes::<32>(&*state.entropy));
    SecretString::new(encode::base64url(random.as_slice()))
}
