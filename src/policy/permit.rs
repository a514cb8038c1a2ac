//! Proofs: a permit is made by the pipeline only, and nothing is released before it is on record.

use crate::audit::{AuditError, AuditLog};
use crate::kernel::ids::{AgentId, ConnectionId, EventId, GrantId, ProviderSlug, UserId};
use crate::kernel::said::Said;
use crate::kernel::scope::ScopeSet;
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::grant::Grant;
use crate::model::limit::Limit;
use crate::store::Stored;

/// The pipeline has permitted something. Private fields: only `policy::decide` makes one.
#[derive(Debug)]
pub struct Permit(pub(super) Terms);

/// On what terms something is permitted. It permits nothing by itself: that takes a [`Permit`].
#[derive(Debug)]
pub struct Terms {
    pub(super) agent: AgentId,
    pub(super) user: UserId,
    pub(super) provider: ProviderSlug,
    pub(super) grant: Stored<Grant>,
    pub(super) scopes: ScopeSet,
    pub(super) limits: Vec<Limit>,
    pub(super) reasons: Vec<String>,
    /// Those of the reasons that can be told in another language.
    pub(super) said: Vec<Said>,
}

impl AsRef<Terms> for Terms {
    fn as_ref(&self) -> &Terms {
        self
    }
}

impl AsRef<Terms> for Permit {
    fn as_ref(&self) -> &Terms {
        self
    }
}

impl std::ops::Deref for Permit {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.0
    }
}

impl Terms {
    /// Who acts.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// For whom.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// At which provider.
    pub fn provider(&self) -> &ProviderSlug {
        &self.provider
    }

    /// Under which grant.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The grant's identifier.
    pub fn grant_id(&self) -> &GrantId {
        &self.grant.id
    }

    /// With which connection.
    pub fn connection(&self) -> &ConnectionId {
        &self.grant.connection
    }

    /// What the token may hold, or what opened the route.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The limits in force: the grant's, and those that the token has beside them.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The limits that the token has beside the grant's.
    pub fn limits_beside_grant(&self) -> Vec<Limit> {
        self.limits.iter().filter(|limit| !self.grant.limits.contains(limit)).cloned().collect()
    }

    /// Why it is permitted, in words.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    fn draft(&self, context: &CallContext) -> EventDraft {
        EventDraft {
            agent: Some(self.agent.clone()),
            user: Some(self.user.clone()),
            provider: Some(self.provider.clone()),
            connection: Some(self.grant.connection.clone()),
            grant: Some(self.grant.id.clone()),
            verdict: Some(Verdict::Permit),
            reasons: self.reasons.clone(),
            said: self.said.clone(),
            scopes: Some(self.scopes.clone()),
            ..context.draft()
        }
    }
}

impl Permit {
    /// The same permit with fewer scopes; nothing can be added.
    #[must_use]
    pub fn narrowed_to(self, scopes: &ScopeSet) -> Self {
        Self(Terms { scopes: self.scopes.intersection(scopes), ..self.0 })
    }

    /// The same permit with further reasons: what else was checked before it is used.
    #[must_use]
    pub fn because(mut self, said: Vec<Said>) -> Self {
        self.0.reasons.extend(said.iter().map(Said::english));
        self.0.said.extend(said);
        self
    }

    /// Writes the decision down.
    ///
    /// # Errors
    /// When it cannot be made durable: then nothing may be released.
    pub async fn record(
        self,
        audit: &AuditLog,
        context: &CallContext,
    ) -> Result<Recorded<Permit>, AuditError> {
        let draft = self.draft(context);
        record(self, audit, draft).await
    }

    /// Begins to write the decision down, so that a safe read can be dialled meanwhile.
    pub fn begin_recording(self, audit: &AuditLog, context: &CallContext) -> Recording<Permit> {
        let (event, durable) = audit.begin(self.draft(context));
        Recording { value: self, event, durable: Box::pin(durable) }
    }
}

/// What is known of a request beside the decision, for its event.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// What kind of decision it is.
    pub kind: EventKind,
    /// Its short code, such as `token.exchange`.
    pub action: &'static str,
    /// The agent's task.
    pub task: Option<String>,
    /// The agent's own words.
    pub binding_message: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Where the request came from.
    pub client_address: Option<std::net::IpAddr>,
    /// Method and route pattern of a gateway call.
    pub route: Option<String>,
    /// The path of a gateway call.
    pub path: Option<String>,
}

impl CallContext {
    /// A context with only a kind and a code.
    pub fn new(kind: EventKind, action: &'static str) -> Self {
        Self {
            kind,
            action,
            task: None,
            binding_message: None,
            traceparent: None,
            client_address: None,
            route: None,
            path: None,
        }
    }

    /// A draft with what the context knows.
    pub fn draft(&self) -> EventDraft {
        EventDraft {
            task: self.task.clone(),
            binding_message: self.binding_message.clone(),
            traceparent: self.traceparent.clone(),
            client_address: self.client_address,
            route: self.route.clone(),
            path: self.path.clone(),
            ..EventDraft::new(self.kind, self.action)
        }
    }
}

/// A decision whose event is durable: what a release requires (invariant 4).
#[derive(Debug)]
pub struct Recorded<T> {
    value: T,
    event: EventId,
}

/// Writes a decision of the pipeline down; what it decided is usable only from then on.
pub(super) async fn record<T>(
    value: T,
    audit: &AuditLog,
    draft: EventDraft,
) -> Result<Recorded<T>, AuditError> {
    let event = audit.record(draft).await?;
    Ok(Recorded { value, event })
}

impl<T> Recorded<T> {
    /// The decision's event.
    pub fn event(&self) -> &EventId {
        &self.event
    }
}

impl<T> std::ops::Deref for Recorded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A decision whose event is on its way to the disk.
pub struct Recording<T> {
    value: T,
    event: EventId,
    durable: std::pin::Pin<Box<dyn Future<Output = Result<(), AuditError>> + Send>>,
}

impl<T> Recording<T> {
    /// The decision, to prepare an answer with. It must not be released yet.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The decision's event.
    pub fn event(&self) -> &EventId {
        &self.event
    }

    /// Waits until the event is durable.
    ///
    /// # Errors
    /// When it cannot be made durable: then nothing may be released.
    pub async fn durable(self) -> Result<Recorded<T>, AuditError> {
        self.durable.await?;
        Ok(Recorded { value: self.value, event: self.event })
    }
}
