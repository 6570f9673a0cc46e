//! Asks the portal whether it answers, and whom it takes us for.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Client, Failure, answer};

/// What was found out about the portal and the token.
#[derive(Debug)]
pub struct CheckReport {
    /// What the portal says about itself, or why it says nothing.
    pub portal: Result<Portal, Failure>,
    /// Whom it takes us for, or why it does not say.
    pub identity: Result<Identity, Failure>,
}

/// What a portal says about itself.
#[derive(Debug, Deserialize)]
pub struct Portal {
    /// Its version, unless it hides it.
    #[serde(default, rename = "ckan_version")]
    pub version: Option<String>,
    /// Its extensions; some of them do what workers do.
    #[serde(default)]
    pub extensions: Vec<String>,
}

/// Whom a portal takes us for.
#[derive(Debug)]
pub enum Identity {
    /// Nobody: no token is set.
    Anonymous,
    /// The user the token belongs to.
    User {
        /// The user's name.
        name: String,
        /// Whether the user may do everything.
        sysadmin: bool,
    },
}

impl CheckReport {
    /// What stands in the way of working with this portal, if anything does.
    pub fn failure(&self) -> Option<&Failure> {
        self.portal.as_ref().err().or(self.identity.as_ref().err())
    }
}

pub(super) async fn run(client: &Client) -> CheckReport {
    let portal = ask(client, "status_show").await;
    let identity = match (&portal, &client.token) {
        (Err(failure), _) => Err(failure.clone()),
        (Ok(_), None) => Ok(Identity::Anonymous),
        (Ok(_), Some(_)) => identity(client).await,
    };
    CheckReport { portal, identity }
}

/// CKAN answers public reads to any token; only `user_show` without a name tells a good one from a bad one.
async fn identity(client: &Client) -> Result<Identity, Failure> {
    #[derive(Deserialize)]
    struct User {
        name: String,
        #[serde(default)]
        sysadmin: bool,
    }
    match ask(client, "user_show").await {
        Ok(User { name, sysadmin }) => Ok(Identity::User { name, sysadmin }),
        Err(failure) if matches!(failure.code, "ckan.not-found" | "ckan.not-authorized") => Err(Failure::permanent(
            "ckan.not-authorized",
            "CKAN does not accept the API token in `ckan.api_key`: it is unknown or has expired, and every read would \
             silently be anonymous; make a new one on the user's page or with `ckan user token add USER worker`",
        )),
        Err(failure) => Err(failure),
    }
}

async fn ask<T: DeserializeOwned>(client: &Client, name: &str) -> Result<T, Failure> {
    let result = client.action(name, Bytes::new()).await?;
    serde_json::from_slice(&result).map_err(|error| answer::incompatible(name, &error.to_string()))
}
