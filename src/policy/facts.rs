//! What a decision rests on, read in as few look-ups as possible.

use crate::kernel::ids::{ConnectionId, UserId};
use crate::model::connection::Connection;
use crate::model::grant::Grant;
use crate::model::stop::Stops;
use crate::model::user::User;
use crate::policy::request::{Action, Subject};
use crate::store::{Store, StoreError, Stored};

/// The state of the world, as far as one decision needs it.
pub struct Facts {
    /// The user, if known.
    pub user: Option<Stored<User>>,
    /// The stops in force.
    pub stops: Option<Stored<Stops>>,
    /// Grants of this agent from this user at this provider, live or not.
    pub grants: Vec<Stored<Grant>>,
    /// The user's connections there: all of them where an account is chosen, else that of the grant.
    pub connections: Vec<Stored<Connection>>,
}

impl Facts {
    /// The connection with that id, if it is the user's.
    pub fn connection(&self, id: &ConnectionId) -> Option<&Stored<Connection>> {
        self.connections.iter().find(|connection| &connection.id == id)
    }
}

/// The facts of the stages that need no grant.
pub async fn load_standing(store: &Store, user: &UserId) -> Result<Facts, StoreError> {
    Ok(Facts {
        user: store.get::<User>(user.as_str()).await?,
        stops: store.get::<Stops>(Stops::KEY).await?,
        grants: Vec::new(),
        connections: Vec::new(),
    })
}

/// The facts of a subject.
pub(super) async fn load(
    store: &Store,
    subject: Subject<'_>,
    action: &Action<'_>,
) -> Result<Facts, StoreError> {
    let standing = load_standing(store, subject.user).await?;
    let grants = match action {
        Action::Exchange { .. } => {
            let holder = Grant::holder_index(&subject.agent.id, subject.user, &subject.provider.slug);
            store.find::<Grant>("holder", &holder).await?
        }
        Action::Collect { grant, .. } | Action::Call { grant, .. } => {
            store.get::<Grant>(grant.as_str()).await?.into_iter().collect()
        }
    };
    let connections = match action {
        // Which account is meant depends on which there are.
        Action::Exchange { .. } => {
            let theirs = Connection::user_provider_index(subject.user, &subject.provider.slug);
            store.find::<Connection>("user_provider", &theirs).await?
        }
        Action::Collect { .. } | Action::Call { .. } => {
            let mut found = Vec::with_capacity(grants.len());
            for grant in &grants {
                let connection = store.get::<Connection>(grant.connection.as_str()).await?;
                found.extend(connection.filter(|connection| {
                    &connection.user == subject.user && connection.provider == subject.provider.slug
                }));
            }
            found
        }
    };
    Ok(Facts { grants, connections, ..standing })
}
