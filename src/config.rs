//! Settings: `valetkey.toml`, then `VALETKEY_*` from the environment. Unknown keys are errors.

mod environment;
mod raw;
mod seal;
mod settings;

pub use seal::{RootKeySetting, TransitSetting};
pub use settings::{ClientCertificates, ConfigError, SecretSetting, Settings, StorageEngine, Tls};
