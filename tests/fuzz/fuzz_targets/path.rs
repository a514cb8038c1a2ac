//! The canonical path: what passes is sent byte for byte, and its segments have one reading.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use url::{Url, form_urlencoded};
use valetkey::gateway::{CanonicalPath, check_query};
use valetkey::providers::load::Templates;

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| Templates::embedded().unwrap());

fuzz_target!(|text: &str| {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let Ok(path) = CanonicalPath::parse(path) else { return };
    let mut url = Url::parse("https://api.example.com").unwrap();
    url.set_path(path.as_str());
    assert_eq!(url.path(), path.as_str());
    let segments = path.segments();
    assert_eq!(format!("/{}", segments.join("/")), path.as_str());
    assert_eq!(url.path_segments().unwrap().collect::<Vec<_>>(), segments);
    for segment in &segments {
        let read = segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
        if let Some((decoded, _)) = form_urlencoded::parse(read.as_bytes()).next() {
            assert!(!decoded.contains(['/', '\\', '%', ';', '?', '#']), "{segment}");
            assert!(decoded != "." && decoded != ".." && !decoded.chars().any(|c| c.is_ascii_control()));
        }
    }
    if check_query(query).is_ok() {
        url.set_query(Some(query));
        assert_eq!(url.query().unwrap_or_default().replace("%27", "'"), query.replace("%27", "'"));
    }
    for name in TEMPLATES.names() {
        let loaded = TEMPLATES.get(name).unwrap();
        for api in loaded.template.api.keys() {
            if let Some(found) = loaded.routes.find(api, "GET", &segments) {
                let pattern = found.route.pattern.split_once(" /").unwrap().1.split('/').count();
                assert_eq!(pattern, segments.len(), "{}", found.route.pattern);
            }
        }
    }
});
