//! Settings: `valetkey.toml`, then `VALETKEY_*` from the environment. Unknown keys are errors.

mod bounds;
mod environment;
mod raw;
mod seal;
mod settings;
mod telemetry;
mod transport;

pub use seal::{RootKeySetting, TransitSetting};
pub use settings::{ClientCertificates, ConfigError, SecretSetting, Settings, StorageEngine, Tls};
pub use telemetry::TelemetrySetting;
pub use transport::issuer;
