//! The templates inside the program.

use valetkey::providers::Templates;
use valetkey::providers::load::LoadError;

use crate::bends::shown;

#[test]
fn every_shipped_template_is_without_findings() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    match Templates::default().with_folder(&folder) {
        Ok(_) => {}
        Err(LoadError::Broken { findings }) => panic!("\n{}", shown(&findings)),
        Err(other) => panic!("{other}"),
    }
}
