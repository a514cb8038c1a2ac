//! A browser as far as the play needs one: cookies per origin, redirects, and forms without scripts.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use url::{Url, form_urlencoded};

use crate::kernel::secret::SecretBytes;
use crate::net::http::{HeaderValue, Method, header};
use crate::net::{Call, CallBody, HttpClient, NetSettings};

const MOST_REDIRECTS: usize = 12;

/// A browser with its own cookies.
pub struct Browser {
    net: HttpClient,
    /// Real origin → the https origin that stands for it: the outbound client dials https only, and
    /// loopback only by rewriting.
    stand_ins: Vec<(String, String)>,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// A page that was reached.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// HTTP status.
    pub status: u16,
    /// Its HTML.
    pub html: String,
}

/// A form on a page.
#[derive(Debug, Default)]
pub struct Form {
    /// Where it goes.
    pub action: String,
    /// Hidden and text inputs with their values, and selects with their chosen option.
    pub fields: Vec<(String, String)>,
    /// Checkboxes: name, value, whether ticked.
    pub boxes: Vec<(String, String, bool)>,
    /// Buttons: name and value.
    pub buttons: Vec<(String, String)>,
}

impl Browser {
    /// A browser that can reach these origins.
    pub fn new(origins: &[&str]) -> anyhow::Result<Self> {
        let stand_ins: Vec<(String, String)> = origins
            .iter()
            .enumerate()
            .map(|(at, origin)| {
                ((*origin).trim_end_matches('/').to_owned(), format!("https://site{at}.invalid"))
            })
            .collect();
        let rewritten = stand_ins.iter().map(|(real, stand_in)| (stand_in.clone(), real.clone())).collect();
        let net = HttpClient::new(NetSettings { origins: rewritten, ..NetSettings::default() })?;
        Ok(Self { net, stand_ins, cookies: BTreeMap::new() })
    }

    /// Opens an address and follows redirects.
    pub async fn open(&mut self, url: &Url) -> anyhow::Result<Page> {
        self.follow(Method::GET, url.clone(), None).await
    }

    /// Sends a form and follows redirects.
    pub async fn submit(
        &mut self,
        page: &Page,
        action: &str,
        fields: &[(String, String)],
    ) -> anyhow::Result<Page> {
        let url = page.url.join(action)?;
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .finish();
        self.follow(Method::POST, url, Some(body)).await
    }

    async fn follow(&mut self, method: Method, url: Url, body: Option<String>) -> anyhow::Result<Page> {
        let (mut method, mut url, mut body) = (method, url, body);
        for _ in 0..MOST_REDIRECTS {
            let page = self.request(&method, &url, body.take()).await?;
            match page {
                Step::Page(page) => return Ok(page),
                Step::Redirect(to) => {
                    method = Method::GET;
                    url = to;
                }
            }
        }
        bail!("more than {MOST_REDIRECTS} redirects, the last to {}", url.path())
    }

    async fn request(&mut self, method: &Method, url: &Url, body: Option<String>) -> anyhow::Result<Step> {
        let origin = url.origin().ascii_serialization();
        let (_, stand_in) = self.stand_ins.iter().find(|(real, _)| *real == origin).with_context(|| {
            format!("the browser was sent to {origin}, which is neither broker nor sandbox")
        })?;
        let rest = url.as_str().get(origin.len()..).unwrap_or("/");
        let mut call = Call::new(method.clone(), Url::parse(&format!("{stand_in}{rest}"))?);
        if let Some(cookies) = self.cookies.get(&origin) {
            let line: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            call.headers.insert(header::COOKIE, HeaderValue::from_str(&line.join("; "))?);
        }
        if let Some(body) = body {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            call.headers.insert(header::CONTENT_TYPE, form);
            call.headers.insert(header::ORIGIN, HeaderValue::from_str(&origin)?);
            call.body = CallBody::Secret(SecretBytes::new(body.into_bytes()));
        }
        let answer = self.net.fetch(call).await?;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            self.keep(&origin, cookie.to_str()?);
        }
        if (300..400).contains(&answer.status) {
            let to = answer.header("location").context("a redirect without an address")?;
            return Ok(Step::Redirect(url.join(to)?));
        }
        let html = String::from_utf8_lossy(answer.body.expose()).into_owned();
        Ok(Step::Page(Page { url: url.clone(), status: answer.status, html }))
    }

    fn keep(&mut self, origin: &str, cookie: &str) {
        let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let jar = self.cookies.entry(origin.to_owned()).or_default();
        if value.is_empty() || cookie.to_ascii_lowercase().contains("max-age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}

enum Step {
    Page(Page),
    Redirect(Url),
}

impl Page {
    /// The forms on the page.
    pub fn forms(&self) -> Vec<Form> {
        self.html
            .split("<form")
            .skip(1)
            .map(|rest| {
                let (tag, inner) = rest.split_once('>').unwrap_or((rest, ""));
                let inner = inner.split("</form>").next().unwrap_or_default();
                Form { action: attribute(tag, "action").unwrap_or_default(), ..Form::read(inner) }
            })
            .collect()
    }

    /// The form that has a field, box or button of that name.
    pub fn form_with(&self, name: &str) -> Option<Form> {
        self.forms().into_iter().find(|form| form.has(name))
    }

    /// The title, for messages.
    pub fn title(&self) -> &str {
        let title = self.html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        title.unwrap_or("a page without a title").trim()
    }
}

impl Form {
    fn read(html: &str) -> Self {
        let mut form = Self::default();
        for tag in tags(html, "input") {
            let name = attribute(tag, "name").unwrap_or_default();
            let value = attribute(tag, "value").unwrap_or_default();
            match attribute(tag, "type").as_deref() {
                Some("checkbox") => form.boxes.push((name, value, has_flag(tag, "checked"))),
                Some("radio") if !has_flag(tag, "checked") => {}
                Some("submit") => form.buttons.push((name, value)),
                _ => form.fields.push((name, value)),
            }
        }
        for tag in tags(html, "button") {
            let name = attribute(tag, "name").unwrap_or_default();
            form.buttons.push((name, attribute(tag, "value").unwrap_or_default()));
        }
        for select in html.split("<select").skip(1) {
            let name = attribute(select.split('>').next().unwrap_or_default(), "name").unwrap_or_default();
            let options = tags(select.split("</select>").next().unwrap_or_default(), "option");
            let chosen = options.iter().find(|option| has_flag(option, "selected")).or(options.first());
            if let Some(value) = chosen.and_then(|option| attribute(option, "value")) {
                form.fields.push((name, value));
            }
        }
        form
    }

    fn has(&self, name: &str) -> bool {
        let named = |other: &String| other == name;
        self.fields.iter().any(|(other, _)| named(other))
            || self.boxes.iter().any(|(other, ..)| named(other))
            || self.buttons.iter().any(|(other, _)| named(other))
    }

    /// The named fields, with one of them set.
    pub fn with(&self, name: &str, value: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> =
            self.fields.iter().filter(|(other, _)| other != name && !other.is_empty()).cloned().collect();
        fields.push((name.to_owned(), value.to_owned()));
        fields
    }
}

fn tags<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    let opening = format!("<{name}");
    html.split(opening.as_str())
        .skip(1)
        .filter(|rest| rest.starts_with([' ', '\n', '>', '/']))
        .filter_map(|rest| rest.split('>').next())
        .collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let opening = format!("{name}=\"");
    let at = tag
        .match_indices(opening.as_str())
        .find(|(at, _)| tag.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace)));
    let (at, _) = at?;
    let value = tag.get(at + opening.len()..)?.split('"').next()?;
    let decoded = value.replace("&quot;", "\"").replace("&#34;", "\"").replace("&#39;", "'");
    Some(decoded.replace("&lt;", "<").replace("&gt;", ">").replace("&#38;", "&").replace("&amp;", "&"))
}

fn has_flag(tag: &str, name: &str) -> bool {
    tag.split_whitespace()
        .any(|word| word.trim_end_matches('/') == name || word.starts_with(&format!("{name}=")))
}
