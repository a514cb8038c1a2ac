//! Where the database is, and how the way there is protected.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::kernel::secret::SecretString;
use crate::store::StoreError;

/// A server that does not accept within this time counts as away.
const CONNECT: Duration = Duration::from_secs(1);

/// A database, read from a URL that may hold a password.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    /// `None` on loopback and over a unix socket, unless the URL asks for it.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.shown())
    }
}

impl Address {
    /// Reads `postgres://user:password@host:port/name?sslmode=…&sslrootcert=…`. What else stands in the query
    /// goes to the driver, several hosts among them.
    ///
    /// # Errors
    /// When it is no such URL, or asks for a way that others could listen on.
    pub(super) fn parse(text: &SecretString) -> Result<Self, StoreError> {
        let text = text.expose().trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(bad("write it as postgres://user:password@host/name"));
        }
        let (rest, wishes) = wishes(text)?;
        // The driver's own words could quote the URL, and with it the password.
        let mut config: Config = rest.parse().map_err(|_| bad("it is no URL that PostgreSQL understands"))?;
        if config.get_hosts().is_empty() {
            return Err(bad("it names no host"));
        }
        let is_near = config.get_hosts().iter().all(is_near);
        let verify = match wishes.mode.as_deref() {
            None => !is_near,
            Some("verify-full") => true,
            Some("disable") if is_near => false,
            Some("disable") => {
                return Err(bad("sslmode=disable is for loopback and unix sockets: elsewhere others could \
                                change what is read; leave it out, and name the CA with sslrootcert=/path/ca.pem"));
            }
            Some(_) => return Err(bad("sslmode is verify-full, or disable on loopback and unix sockets")),
        };
        config.ssl_mode(if verify { SslMode::Require } else { SslMode::Disable });
        config.application_name("valetkey").connect_timeout(CONNECT);
        config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(Duration::from_secs(5));
        // A standby would take reads, and give back what was revoked.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let tls = verify.then(|| tls(wishes.roots.as_ref())).transpose()?;
        Ok(Self { config, tls })
    }

    /// The same for a look at it, where no host takes writes.
    pub(super) fn read_only(&self) -> Self {
        let mut config = self.config.clone();
        config.target_session_attrs(TargetSessionAttrs::Any);
        Self { config, tls: self.tls.clone() }
    }

    /// Hosts and database, for messages: without user and password.
    pub(super) fn shown(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        format!("{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or("postgres"))
    }
}

fn bad(problem: &str) -> StoreError {
    StoreError::Database { problem: format!("`storage.postgres`: {problem}") }
}

#[derive(Default)]
struct Wishes {
    mode: Option<String>,
    roots: Option<PathBuf>,
}

/// Takes out of the query what the driver does not know.
fn wishes(text: &str) -> Result<(String, Wishes), StoreError> {
    let Some((base, query)) = text.split_once('?') else { return Ok((text.to_owned(), Wishes::default())) };
    // Only the query is read as one: the part before it may hold several hosts, which no URL has.
    let query = Url::parse(&format!("postgres://h/?{query}")).map_err(|_| bad("its query is malformed"))?;
    let mut found = Wishes::default();
    let mut kept = Vec::new();
    for (name, value) in query.query_pairs() {
        match name.as_ref() {
            "sslmode" => found.mode = Some(value.into_owned()),
            "sslrootcert" if value == "system" => found.roots = None,
            "sslrootcert" => found.roots = Some(PathBuf::from(value.as_ref())),
            _ => kept.push(format!("{name}={}", percent(&value))),
        }
    }
    let text = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    Ok((text, found))
}

/// Everything but letters, digits and a few marks, as `%XX`.
fn percent(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~,/".contains(&b);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
    }
}

fn tls(roots: Option<&PathBuf>) -> Result<MakeRustlsConnect, StoreError> {
    let mut trusted = RootCertStore::empty();
    match roots {
        Some(path) => {
            let unreadable = |e: &dyn fmt::Display| bad(&format!("sslrootcert `{}`: {e}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
                let certificate = certificate.map_err(|e| unreadable(&e))?;
                trusted.add(certificate).map_err(|e| unreadable(&e))?;
            }
        }
        None => {
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if trusted.is_empty() {
        return Err(bad("no certificate authority is known: name one with sslrootcert=/path/ca.pem"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e.to_string()))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, StoreError> {
        Address::parse(&SecretString::new(text.to_owned()))
    }

    #[test]
    fn the_way_is_open_on_this_machine_only() {
        for near in [
            "postgres://v@127.0.0.1:5432/v",
            "postgresql://v@localhost/v?sslmode=disable",
            "postgres:///v?host=%2Frun%2Fpg",
        ] {
            assert!(parse(near).unwrap().tls.is_none(), "{near}");
        }
        for refused in [
            "postgres://v@db.example.com/v?sslmode=disable",
            "postgres://v@127.0.0.1,db.example.com/v?sslmode=disable",
            "postgres://v@db.example.com/v?sslmode=require",
            "postgres://v@db.example.com/v?sslrootcert=/nonexistent/ca.pem",
            "mysql://v@127.0.0.1/v",
            "postgres:///v",
        ] {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_password_is_in_no_message() {
        let address = parse("postgres://v:hunter2@127.0.0.1/v?options=-c%20search_path%3Da").unwrap();
        assert_eq!(address.config.get_options(), Some("-c search_path=a"));
        assert!(!format!("{address:?}").contains("hunter2"));
        let refused = parse("postgres://v:hunter2@db.example.com:port/v").unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
}
