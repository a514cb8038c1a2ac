//! Style sheets, the icon and one small script, compiled in and served from `/assets/`.

use std::sync::LazyLock;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "templates/assets/"]
struct Assets;

/// Changes whenever an asset does, so that browsers may keep what they have for ever.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = crc32fast::Hasher::new();
    for name in Assets::iter() {
        hash.update(name.as_bytes());
        if let Some(file) = Assets::get(&name) {
            hash.update(&file.data);
        }
    }
    format!("{:08x}", hash.finalize())
});

/// The address of an asset.
pub fn address(name: &str) -> String {
    format!("/assets/{name}?v={}", *VERSION)
}

/// An asset's media type and bytes; `None` when there is no such asset.
pub fn find(name: &str) -> Option<(&'static str, std::borrow::Cow<'static, [u8]>)> {
    let media_type = match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    Assets::get(name).map(|file| (media_type, file.data))
}

/// The names of all assets.
pub fn names() -> Vec<String> {
    Assets::iter().map(|name| name.into_owned()).collect()
}
