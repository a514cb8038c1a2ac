//! Loading templates: the shipped ones, and those of a folder that add or override.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rust_embed::RustEmbed;

use crate::kernel::ids::ProviderSlug;
use crate::providers::check::{self, Finding};
use crate::providers::routes::RouteTable;
use crate::providers::template::Template;

/// No template is larger; the largest vendor's is a tenth of it.
pub const MAX_BYTES: usize = 256 * 1024;

/// No folder holds more templates.
const MAX_FILES: usize = 256;

#[derive(RustEmbed)]
#[folder = "providers/"]
struct Shipped;

/// All templates, by name.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    entries: BTreeMap<String, Arc<LoadedTemplate>>,
}

/// A template that was read and checked.
#[derive(Clone, Debug)]
pub struct LoadedTemplate {
    /// Its name: the file's, without `.toml`.
    pub name: String,
    /// What it says.
    pub template: Template,
    /// Its calls.
    pub routes: RouteTable,
}

/// Templates cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file name that is no provider's name.
    #[error(
        "`{file}` is not named like a provider: 1 to 32 lower-case letters, digits or hyphens, then `.toml`"
    )]
    Name {
        /// The file.
        file: String,
    },
    /// Too many files.
    #[error("`{}` holds more than {MAX_FILES} templates", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// A template has errors.
    #[error("{}", sentences(findings))]
    Broken {
        /// All of them.
        findings: Vec<Finding>,
    },
}

fn sentences(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}

impl LoadedTemplate {
    /// Reads one template.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let findings = check::lint(file, text);
        if !findings.is_empty() {
            return Err(findings);
        }
        // What the lint lets through must load; should the two ever disagree, that is a finding too.
        let template: Template =
            toml::from_str(text).map_err(|error| vec![Finding::from_toml(file, text, &error)])?;
        let routes = RouteTable::compile(&template)
            .map_err(|problem| vec![Finding::whole_file(file, problem.to_string())])?;
        Ok(Self { name: name.to_owned(), template, routes })
    }
}

impl Templates {
    /// The templates inside the program.
    ///
    /// # Errors
    /// When one is broken, which the tests rule out.
    pub fn embedded() -> Result<Self, LoadError> {
        let mut templates = Self::default();
        for file in Shipped::iter().filter(|file| file.ends_with(".toml")) {
            let shown = format!("providers/{file}");
            let data = Shipped::get(&file).map(|file| file.data).unwrap_or_default();
            templates.add(Path::new(file.as_ref()), &shown, &data)?;
        }
        Ok(templates)
    }

    /// Adds a folder's templates; one with the name of a former one replaces it.
    ///
    /// # Errors
    /// When the folder cannot be read or a template in it is broken.
    pub fn with_folder(mut self, folder: &Path) -> Result<Self, LoadError> {
        for path in files_of(folder)? {
            let unreadable = |source| LoadError::Unreadable { path: path.clone(), source };
            // Read one byte more than allowed: a file may grow between looking and reading.
            let mut data = Vec::new();
            let file = std::fs::File::open(&path).map_err(unreadable)?;
            let limit = MAX_BYTES as u64 + 1;
            io::Read::read_to_end(&mut io::Read::take(file, limit), &mut data).map_err(unreadable)?;
            self.add(&path, &path.display().to_string(), &data)?;
        }
        Ok(self)
    }

    /// A template by name.
    pub fn get(&self, name: &str) -> Option<Arc<LoadedTemplate>> {
        self.entries.get(name).cloned()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// All templates, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LoadedTemplate>> {
        self.entries.values()
    }

    fn add(&mut self, path: &Path, shown: &str, data: &[u8]) -> Result<(), LoadError> {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name: ProviderSlug = stem.parse().map_err(|_| LoadError::Name { file: shown.to_owned() })?;
        let text =
            check::text_of(shown, data).map_err(|finding| LoadError::Broken { findings: vec![finding] })?;
        let loaded = LoadedTemplate::parse(name.as_str(), shown, text)
            .map_err(|findings| LoadError::Broken { findings })?;
        self.entries.insert(loaded.name.clone(), Arc::new(loaded));
        Ok(())
    }
}

/// The `.toml` files directly in a folder, sorted. Hidden ones (editors' and mounts' own) are left out.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden || path.extension().is_none_or(|extension| extension != "toml") || !path.is_file() {
            continue;
        }
        if files.len() == MAX_FILES {
            return Err(LoadError::TooMany { path: folder.to_owned() });
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}
