//! Who is in a group: it stands in the users' records, by the group's name, where every decision reads it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::kernel::ids::UserId;
use crate::model::group::{Group, group_index};
use crate::model::user::{MOST_GROUPS, User};
use crate::store::{Store, StoreError, Stored, UpdateError, Updated};
use crate::web::scim::error::ScimError;
use crate::web::scim::group::Members;

/// Writes to different records share a sync of the disk.
const AT_ONCE: usize = 32;

/// Who has the group's name, and was not removed.
pub async fn of(store: &Store, group: &str) -> Result<Vec<Stored<User>>, StoreError> {
    let mut users = store.find::<User>("group", group).await?;
    users.retain(|user| !user.is_removed());
    Ok(users)
}

/// Refuses members who are not there, or are in too many groups.
pub async fn check(store: &Store, members: &Members) -> Result<(), ScimError> {
    for id in &members.add {
        let user = store.get::<User>(id.as_str()).await?.filter(|user| !user.is_removed());
        let nobody = || ScimError::bad("invalidValue", "a member is no user here");
        if user.ok_or_else(nobody)?.groups.len() >= MOST_GROUPS {
            return Err(ScimError::bad("invalidValue", format!("a user is in at most {MOST_GROUPS} groups")));
        }
    }
    Ok(())
}

/// Changes who has the group's name.
pub async fn change(store: &Store, group: &str, members: &Members) -> Result<(), ScimError> {
    // Out first: whatever else fails, whoever has to go is out.
    if members.only {
        leave_but(store, group, &members.add).await?;
    }
    for_all(store, members.remove.iter().map(|id| (id, Some(group), None))).await?;
    for_all(store, members.add.iter().map(|id| (id, None, Some(group)))).await
}

/// Takes the group's name from all but those.
pub async fn leave_but(store: &Store, group: &str, stay: &BTreeSet<UserId>) -> Result<(), ScimError> {
    let now = store.find::<User>("group", group).await?;
    let leaving = now.iter().map(|user| &user.id).filter(|id| !stay.contains(id));
    for_all(store, leaving.map(|id| (id, Some(group), None))).await
}

/// Gives all who have a name another one in its place.
pub async fn rename(store: &Store, from: &str, to: &str) -> Result<(), ScimError> {
    let now = store.find::<User>("group", from).await?;
    for_all(store, now.iter().map(|user| (&user.id, Some(from), Some(to)))).await
}

type Step<'s> = (&'s UserId, Option<&'s str>, Option<&'s str>);

async fn for_all<'s>(store: &Store, steps: impl Iterator<Item = Step<'s>>) -> Result<(), ScimError> {
    let done = steps.map(|(id, leave, join)| one(store, id, leave, join));
    stream::iter(done).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

async fn one(store: &Store, id: &UserId, leave: Option<&str>, join: Option<&str>) -> Result<(), ScimError> {
    let updated = store.update::<User, std::convert::Infallible>(id.as_str(), |user| {
        let mut groups = user.groups.clone();
        groups.retain(|group| Some(group.as_str()) != leave);
        let is_in = |name: &str| groups.iter().any(|group| group == name);
        let join = join.filter(|name| !is_in(name)).map(str::to_owned);
        groups.extend(join);
        Ok((groups != user.groups).then(|| User { groups, ..user.clone() }))
    });
    match updated.await {
        // Removed at this moment: in no group any more.
        Ok(Updated::Missing | Updated::Changed(_) | Updated::Unchanged(_)) => Ok(()),
        Err(UpdateError::Store(error)) => Err(error.into()),
        Err(UpdateError::Refused(never)) => match never {},
    }
}

/// The groups of users, as SCIM shows them: those of the directory by their ids, others by their names.
#[derive(Default)]
pub struct Names(BTreeMap<String, Option<String>>);

impl Names {
    /// The `groups` of a user.
    pub async fn of(&mut self, store: &Store, user: &User) -> Result<Vec<Value>, StoreError> {
        let mut groups = Vec::with_capacity(user.groups.len());
        for name in &user.groups {
            let id = match self.0.get(name) {
                Some(known) => known.clone(),
                None => {
                    let found = store.find_unique::<Group>("name", &group_index(name)).await?;
                    let id =
                        found.filter(|group| group.display_name == *name).map(|group| group.id.to_string());
                    self.0.insert(name.clone(), id.clone());
                    id
                }
            };
            groups.push(json!({ "value": id.as_ref().unwrap_or(name), "display": name, "type": "direct" }));
        }
        Ok(groups)
    }
}
