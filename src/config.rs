//! Settings: `valetkey.toml`, then `VALETKEY_*` from the environment. Unknown keys are errors.

mod environment;
mod raw;
mod settings;

pub use settings::{ConfigError, RootKeySetting, Settings, StorageEngine, Tls};
